//! Where this machine gets Debian from, read from its own apt configuration: no mirror is named in this project.

use std::fmt::Write as _;

/// The release that the trees are made from, and what is added to it.
pub const SUITES: [&str; 3] = ["bookworm", "bookworm-updates", "bookworm-security"];

/// One place to get packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    uri: String,
    suite: String,
    /// Keyring file names or an embedded key, as the machine has it; absent means the machine's default keyrings.
    signed_by: Option<String>,
}

/// Reads the deb822 style (sources.list(5), "DEB822-STYLE FORMAT") and keeps what serves [`SUITES`].
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let fields = deb822_fields(stanza);
        let field = |name: &str| {
            fields
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let is_deb = field("types").is_some_and(|types| types.split_whitespace().any(|kind| kind == "deb"));
        if !is_deb || field("enabled").is_some_and(|value| value.trim() == "no") {
            continue;
        }
        for uri in field("uris").unwrap_or_default().split_whitespace() {
            for suite in field("suites").unwrap_or_default().split_whitespace() {
                push(&mut sources, uri, suite, field("signed-by"));
            }
        }
    }
    sources
}

/// Reads the one-line style (sources.list(5), "ONE-LINE-STYLE FORMAT") and keeps what serves [`SUITES`].
pub fn parse_one_line(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb ").map(str::trim_start) else {
            continue;
        };
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            push(&mut sources, uri, suite, signed_by);
        }
    }
    sources
}

/// A deb822 file with these sources, component `main`, package indexes only.
pub fn to_deb822(sources: &[Source]) -> String {
    let mut text = String::new();
    for Source {
        uri,
        suite,
        signed_by,
    } in sources
    {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nTargets: Packages"
        );
        if let Some(signed_by) = signed_by {
            let _ = writeln!(text, "Signed-By: {signed_by}");
        }
        text.push('\n');
    }
    text
}

/// The suites of [`SUITES`] that no source serves.
pub fn missing_suites(sources: &[Source]) -> Vec<&'static str> {
    let served = |suite: &str| sources.iter().any(|source| source.suite == suite);
    SUITES.into_iter().filter(|suite| !served(suite)).collect()
}

fn push(sources: &mut Vec<Source>, uri: &str, suite: &str, signed_by: Option<&str>) {
    let source = Source {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        signed_by: signed_by.map(str::to_owned),
    };
    if SUITES.contains(&suite) && !sources.contains(&source) {
        sources.push(source);
    }
}

/// Fields with their continuation lines, names in lower case; comment lines may stand anywhere.
fn deb822_fields(stanza: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in stanza.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/example.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm

Types: deb
URIs: http://other.example/
Suites: nodistro
Components: main
";

    #[test]
    fn keeps_the_suites_it_needs_from_deb822() {
        let sources = parse_deb822(DEB822);
        let suites: Vec<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["bookworm", "bookworm-updates", "bookworm-security"]);
        assert!(missing_suites(&sources).is_empty());
        assert_eq!(
            sources[0].signed_by.as_deref(),
            Some("/usr/share/keyrings/example.gpg")
        );
        assert_eq!(sources[2].uri, "http://mirror.example/debian-security");
    }

    #[test]
    fn reads_the_one_line_style_with_options() {
        let text = "# deb http://no.example/ bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main # base\n\
                    deb-src http://mirror.example/debian bookworm main\n";
        let sources = parse_one_line(text);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(
            missing_suites(&sources),
            ["bookworm-updates", "bookworm-security"]
        );
    }

    #[test]
    fn an_embedded_key_survives() {
        let text =
            "Types: deb\nURIs: http://m.example\nSuites: bookworm\nSigned-By:\n -----BEGIN\n .\n mQIN\n";
        let sources = parse_deb822(text);
        assert_eq!(sources[0].signed_by.as_deref(), Some("\n -----BEGIN\n .\n mQIN"));
        assert_eq!(parse_deb822(&to_deb822(&sources)), sources);
    }

    #[test]
    fn what_is_written_is_read() {
        let sources = parse_deb822(DEB822);
        assert_eq!(parse_deb822(&to_deb822(&sources)), sources);
    }
}
