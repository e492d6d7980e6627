/// Whether a target path fits a delegation's pattern (specification, section 4.5, `PATHPATTERN`).
///
/// Segments are compared one by one, so a wildcard never crosses a `/`. In a segment `*` stands for any number of
/// characters, also none, and `?` for exactly one. There are no other special characters.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut segments = path.split('/');
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if segment_matches(pattern, segment) => {}
            _ => return false,
        }
    }
}

/// Goes back to the last `*` only, so that no pattern takes more than pattern × text steps.
fn segment_matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match star {
                Some((star_pattern, star_text)) => {
                    star = Some((star_pattern, star_text + 1));
                    at_pattern = star_pattern + 1;
                    at_text = star_text + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_in_its_segment() {
        assert!(path_matches("rubik/builds/*", "rubik/builds/V6.json"));
        assert!(!path_matches("rubik/builds/*", "rubik/builds/deep/V6.json"));
        assert!(!path_matches("rubik/builds/*", "rubik/deltas/V6.json"));
        assert!(!path_matches("*", "rubik/builds"));
        assert!(!path_matches("rubik/*", "rubik"));
        assert!(!path_matches("rubik", "rubik/"));
    }

    #[test]
    fn stars_and_question_marks() {
        assert!(path_matches("*.tgz", "a.b.tgz"));
        assert!(path_matches("a*b*c", "aXbYbc"));
        assert!(!path_matches("a*b*c", "aXbY"));
        assert!(path_matches("v?", "v1"));
        assert!(!path_matches("v?", "v"));
        assert!(!path_matches("v?", "v/"));
        assert!(path_matches("**", ""));
        assert!(path_matches("[a]", "[a]"));
        assert!(!path_matches("[a]", "a"));
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "*a".repeat(2_000);
        assert!(!path_matches(&pattern, &"b".repeat(5_000)));
        assert!(!path_matches(&pattern, &"a".repeat(1_999)));
    }
}
