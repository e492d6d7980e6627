//! What a build says of itself to people.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use millet_protocol::Entry;

/// Reads an entry of the form `id=Title: description`.
pub fn parse_entry(text: &str) -> Result<Entry, String> {
    let form = "an entry is written id=Title: description";
    let (id, rest) = text.split_once('=').ok_or(form)?;
    let (title, description) = rest.split_once(':').ok_or(form)?;
    let (title, description) = (title.trim(), description.trim());
    if title.is_empty() || description.is_empty() {
        return Err(form.to_owned());
    }
    Ok(Entry {
        id: id.trim().parse().map_err(|error| format!("{error}"))?,
        title: title.to_owned(),
        description: description.to_owned(),
    })
}

/// The notes of a build: a file's content if there is such a file, otherwise the text itself.
pub fn read(text: &str) -> anyhow::Result<String> {
    let path = Path::new(text);
    if path.is_file() {
        return fs::read_to_string(path).with_context(|| format!("cannot read the notes {}", path.display()));
    }
    // One word with an ending or a slash is a file's name, and more likely misspelt than meant as the notes.
    let ending = path.extension().is_some_and(|ending| !ending.is_empty());
    if (ending || text.contains('/')) && !text.contains(char::is_whitespace) {
        bail!("there is no file {text} for the notes; notes of one word need a file");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_file_is_not_the_notes() {
        assert_eq!(read("Warmer evenings.").unwrap(), "Warmer evenings.");
        assert_eq!(read("Hello.").unwrap(), "Hello.");
        for misspelt in ["nots.md", "out/notes"] {
            assert!(read(misspelt).unwrap_err().to_string().contains(misspelt));
        }
    }

    #[test]
    fn entries() {
        let entry = parse_entry("dark-mode=Dark mode: at night: everywhere").unwrap();
        assert_eq!(entry.id.as_str(), "dark-mode");
        assert_eq!(entry.title, "Dark mode");
        assert_eq!(entry.description, "at night: everywhere");
        for refused in ["dark", "dark=Title", "Dark=Title: x", "dark=: x", "dark=Title:  "] {
            assert!(parse_entry(refused).is_err(), "{refused}");
        }
    }
}
