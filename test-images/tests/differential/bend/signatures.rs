//! Signatures, and what is changed under them.

use millet_signing::Signer;
use serde_json::json;

use super::Stage::Envelope;
use super::{ALL, Bend, add, bend, remove, signatures};
use crate::world::{key, key_id};

pub const BENDS: &[Bend] = &[
    bend(
        "no signatures",
        ALL,
        Envelope(|file, _| file["signatures"] = json!([])),
    ),
    bend(
        "signatures missing",
        ALL,
        Envelope(|file, _| remove(file, "signatures")),
    ),
    bend(
        "signatures of another type",
        ALL,
        Envelope(|file, _| file["signatures"] = json!({})),
    ),
    bend(
        "one signature less",
        ALL,
        Envelope(|file, _| {
            signatures(file).remove(0);
        }),
    ),
    bend(
        "one signature bent",
        ALL,
        Envelope(|file, dice| {
            let signature = &mut signatures(file)[0]["sig"];
            let mut text = signature.as_str().unwrap().to_owned().into_bytes();
            let at = dice.below(text.len());
            text[at] = if text[at] == b'0' { b'1' } else { b'0' };
            *signature = String::from_utf8(text).unwrap().into();
        }),
    ),
    bend(
        "one signature empty",
        ALL,
        Envelope(|file, _| signatures(file)[0]["sig"] = "".into()),
    ),
    bend(
        "one signature not hexadecimal",
        ALL,
        Envelope(|file, _| signatures(file)[0]["sig"] = "signed".into()),
    ),
    bend(
        "one signature in capital letters",
        ALL,
        Envelope(|file, _| {
            let capital = signatures(file)[0]["sig"].as_str().unwrap().to_uppercase();
            signatures(file)[0]["sig"] = capital.into();
        }),
    ),
    bend(
        "one signature too long",
        ALL,
        Envelope(|file, _| {
            let longer = format!("{}00", signatures(file)[0]["sig"].as_str().unwrap());
            signatures(file)[0]["sig"] = longer.into();
        }),
    ),
    bend(
        "one signature of another type",
        ALL,
        Envelope(|file, _| signatures(file)[0]["sig"] = 1.into()),
    ),
    bend(
        "one signature without its key",
        ALL,
        Envelope(|file, _| remove(&mut signatures(file)[0], "keyid")),
    ),
    bend(
        "one signature twice",
        ALL,
        Envelope(|file, _| {
            let first = signatures(file)[0].clone();
            signatures(file).push(first);
        }),
    ),
    bend(
        "a stranger's signature",
        ALL,
        Envelope(|file, _| {
            signatures(file).push(json!({"keyid": key_id(77), "sig": "ab".repeat(64)}));
        }),
    ),
    bend(
        "a stranger's signature in place of one",
        ALL,
        Envelope(|file, _| {
            let message = millet_signing::canonical::to_vec(&file["signed"]).unwrap_or_default();
            signatures(file)[0] =
                json!({"keyid": key_id(77), "sig": hex::encode(key(77).sign(&message).unwrap())});
        }),
    ),
    bend(
        "a signature with unknown fields",
        ALL,
        Envelope(|file, _| signatures(file)[0]["x"] = json!([1])),
    ),
    bend(
        "an unknown field beside the signatures",
        ALL,
        Envelope(|file, _| file["x"] = json!({"a": 1.5})),
    ),
    bend(
        "another version after signing",
        ALL,
        Envelope(|file, _| add(&mut file["signed"], 1)),
    ),
    bend(
        "a field more after signing",
        ALL,
        Envelope(|file, _| file["signed"]["x"] = 1.into()),
    ),
];
