use super::history::revisions;
use super::random::{Seed, Stream};

const WORDS: [&str; 64] = [
    "audio",
    "binder",
    "bitmap",
    "block",
    "bluetooth",
    "boot",
    "buffer",
    "bundle",
    "cache",
    "camera",
    "carrier",
    "channel",
    "clock",
    "codec",
    "composer",
    "config",
    "context",
    "crypto",
    "device",
    "dialog",
    "display",
    "driver",
    "event",
    "factory",
    "filter",
    "font",
    "frame",
    "gesture",
    "graphics",
    "handler",
    "health",
    "input",
    "intent",
    "kernel",
    "keyguard",
    "layout",
    "listener",
    "location",
    "locale",
    "manager",
    "media",
    "memory",
    "message",
    "network",
    "package",
    "parcel",
    "permission",
    "policy",
    "power",
    "process",
    "provider",
    "radio",
    "render",
    "resource",
    "sensor",
    "service",
    "session",
    "storage",
    "surface",
    "telephony",
    "theme",
    "thread",
    "vibrator",
    "window",
];

/// Parts of a text of which a week changes one.
const RARITY: usize = 40;

/// A name for the n-th file of its kind; no two of the first 4096 are the same.
pub fn name(number: usize) -> String {
    // 37 and 64 have no common divisor, so the first word walks through all of them.
    let first = WORDS[number * 37 % WORDS.len()];
    let second = WORDS[(number / WORDS.len() + number) % WORDS.len()];
    format!("{first}_{second}")
}

/// A word, the common ones more often.
pub fn word(stream: &mut Stream) -> &'static str {
    WORDS[stream.low(WORDS.len())]
}

/// A configuration text of about this many bytes.
pub fn text(seed: &Seed, size: usize, changes: &[u32]) -> Vec<u8> {
    const LINE: usize = 40;
    let mut text = Vec::with_capacity(size + LINE);
    for (line, revision) in revisions(seed, size / LINE, RARITY, changes)
        .into_iter()
        .enumerate()
    {
        let mut stream = seed.stream((line as u64) << 32 | u64::from(revision));
        let (subject, object, verb) = (word(&mut stream), word(&mut stream), word(&mut stream));
        let line = match stream.below(4) {
            0 => format!("# the {subject} {verb} of the {object}\n"),
            1 => format!("on property:sys.{subject}.{object}=1\n    start {verb}\n"),
            2 => format!(
                "<{subject} name=\"android.{object}.{verb}\" version=\"{}\"/>\n",
                stream.low(9)
            ),
            _ => format!("persist.{subject}.{object}.{verb}={}\n", stream.low(4096)),
        };
        text.extend_from_slice(line.as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_do_not_repeat() {
        let names: BTreeSet<String> = (0..4096).map(name).collect();
        assert_eq!(names.len(), 4096);
    }

    #[test]
    fn a_change_to_a_text_keeps_most_lines() {
        let seed = Seed::new(5);
        let (before, after) = (text(&seed, 20_000, &[]), text(&seed, 20_000, &[2]));
        assert!((15_000..25_000).contains(&before.len()), "{}", before.len());
        let lines = |text: &[u8]| -> BTreeSet<String> {
            String::from_utf8(text.to_vec())
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        };
        let (before, after) = (lines(&before), lines(&after));
        let gone = before.difference(&after).count();
        assert!(
            (1..before.len() / 10).contains(&gone),
            "{gone} of {}",
            before.len()
        );
    }
}
