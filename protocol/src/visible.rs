//! Other people's words on somebody's terminal: names, key identifiers, a rollout's reason, a build's notes.

/// Text with everything spelt out that could move a terminal's cursor or turn its writing around: control characters but
/// for line feed and tab, and the bidirectional embeddings, overrides and isolates (UAX #9, section 2).
pub fn visible(text: &str) -> String {
    spell(text, |c| c.escape_unicode().to_string())
}

/// The same for JSON, where such characters stand in strings only; serde leaves those above U+007E as they are. It still
/// says the same.
pub fn visible_json(json: &str) -> String {
    spell(json, |c| format!("\\u{:04x}", u32::from(c)))
}

fn spell(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut spelt = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => spelt.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => spelt.push_str(&escape(c)),
            _ if c.is_control() => spelt.push_str(&escape(c)),
            _ => spelt.push(c),
        }
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_moves_the_cursor_or_turns_the_writing() {
        assert_eq!(visible("a\tb\nc é 火 👩\u{200d}🚒"), "a\tb\nc é 火 👩\u{200d}🚒");
        assert_eq!(
            visible("\u{1b}[99A\r\u{9b}2J\u{202e}x\u{7f}"),
            "\\u{1b}[99A\\u{d}\\u{9b}2J\\u{202e}x\\u{7f}"
        );
        let words = "\u{9b}2J\u{202e}";
        let json = visible_json(&serde_json::to_string(words).unwrap());
        assert_eq!(json, r#""\u009b2J\u202e""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), words);
    }
}
