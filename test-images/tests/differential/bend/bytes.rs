//! Bytes.

use serde_json::Value;

use super::Stage::Bytes;
use super::{ALL, Bend, bend};

pub const BENDS: &[Bend] = &[
    bend(
        "a flipped bit",
        ALL,
        Bytes(|bytes, dice| {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }),
    ),
    bend(
        "cut off",
        ALL,
        Bytes(|bytes, dice| bytes.truncate(dice.below(bytes.len()))),
    ),
    bend(
        "with space around",
        ALL,
        Bytes(|bytes, _| *bytes = [b" \n", bytes.as_slice(), b"\n\t "].concat()),
    ),
    bend(
        "spread over lines",
        ALL,
        Bytes(|bytes, _| {
            let value: Value = serde_json::from_slice(bytes).unwrap();
            *bytes = serde_json::to_vec_pretty(&value).unwrap();
        }),
    ),
    bend(
        "followed by rubbish",
        ALL,
        Bytes(|bytes, dice| bytes.push(*dice.pick(b"x{}\0,"))),
    ),
    bend(
        "after a byte order mark",
        ALL,
        Bytes(|bytes, _| *bytes = [b"\xef\xbb\xbf", bytes.as_slice()].concat()),
    ),
    bend(
        "a name twice",
        ALL,
        Bytes(|bytes, dice| {
            // The first or the last of two would be the one that was signed.
            let text = String::from_utf8(bytes.clone()).unwrap();
            let version = text.split("\"version\":").last().unwrap();
            let version: String = version.chars().take_while(char::is_ascii_digit).collect();
            let (one, two) = (
                format!("\"version\":{version}"),
                format!("\"version\":{version}0"),
            );
            let twice = if dice.once_in(2) {
                format!("{one},{two}")
            } else {
                format!("{two},{one}")
            };
            let at = text.rfind(&one).unwrap();
            *bytes = format!("{}{twice}{}", &text[..at], &text[at + one.len()..]).into_bytes();
        }),
    ),
    bend(
        "a name twice, outside",
        ALL,
        Bytes(|bytes, dice| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = if dice.once_in(2) {
                text.replacen('{', "{\"signed\":{},", 1).into_bytes()
            } else {
                text.replacen('{', "{\"x\":1,\"x\":2,", 1).into_bytes()
            };
        }),
    ),
    bend(
        "names escaped",
        ALL,
        Bytes(|bytes, _| {
            *bytes = String::from_utf8(bytes.clone())
                .unwrap()
                .replace("\"expires\"", "\"\\u0065xpires\"")
                .into_bytes();
        }),
    ),
    bend("empty", ALL, Bytes(|bytes, _| bytes.clear())),
    bend(
        "another JSON value",
        ALL,
        Bytes(|bytes, dice| *bytes = dice.pick(&[&b"null"[..], b"[]", b"1", b"\"x\"", b"{}"]).to_vec()),
    ),
    bend(
        "not UTF-8",
        ALL,
        Bytes(|bytes, _| *bytes = b"{\"signed\":\"\xff\",\"signatures\":[]}".to_vec()),
    ),
    bend(
        "deeply nested",
        ALL,
        Bytes(|bytes, _| {
            let deep = format!("{{\"x\":{}{},", "[".repeat(2000), "]".repeat(2000));
            *bytes = String::from_utf8(bytes.clone())
                .unwrap()
                .replacen('{', &deep, 1)
                .into_bytes();
        }),
    ),
    bend(
        "NaN",
        ALL,
        Bytes(|bytes, _| {
            *bytes = String::from_utf8(bytes.clone())
                .unwrap()
                .replacen('{', "{\"x\":NaN,", 1)
                .into_bytes();
        }),
    ),
    bend(
        "too long",
        "timestamp root",
        Bytes(|bytes, _| bytes.extend(vec![b' '; 600_000])),
    ),
];
