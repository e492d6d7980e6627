//! What timestamp and snapshot list.

use serde_json::{Value, json};

use super::Stage::Signed;
use super::{Bend, LISTS, add, bend, length, listed, pick_name, remove};

pub const BENDS: &[Bend] = &[
    bend("list missing", LISTS, Signed(|signed, _| remove(signed, "meta"))),
    bend(
        "list empty",
        LISTS,
        Signed(|signed, _| signed["meta"] = json!({})),
    ),
    bend(
        "list of another type",
        LISTS,
        Signed(|signed, _| signed["meta"] = json!([])),
    ),
    bend(
        "list with more in it",
        "timestamp",
        Signed(|signed, _| signed["meta"]["targets.json"] = json!({"version": 1})),
    ),
    bend(
        "list with an unknown role",
        "snapshot",
        Signed(|signed, _| signed["meta"]["nobody.json"] = json!({"version": 7})),
    ),
    bend(
        "list without a role",
        "snapshot",
        Signed(|signed, dice| {
            let name = pick_name(&signed["meta"], dice);
            remove(&mut signed["meta"], &name);
        }),
    ),
    bend(
        "listed version 0",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["version"] = 0.into())),
    ),
    bend(
        "listed version one more",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| add(file, 1))),
    ),
    bend(
        "listed version one less",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| add(file, -1))),
    ),
    bend(
        "listed version missing",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| remove(file, "version"))),
    ),
    bend(
        "listed version as text",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["version"] = "1".into())),
    ),
    bend(
        "listed length one more",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| length(file, 1))),
    ),
    bend(
        "listed length one less",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| length(file, -1))),
    ),
    bend(
        "listed length 0",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["length"] = 0.into())),
    ),
    bend(
        "listed length below 0",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["length"] = (-1).into())),
    ),
    bend(
        "listed length null",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["length"] = Value::Null)),
    ),
    bend(
        "listed hashes empty",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["hashes"] = json!({}))),
    ),
    bend(
        "listed hashes null",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["hashes"] = Value::Null)),
    ),
    bend(
        "listed hashes of another type",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["hashes"] = json!({"sha256": 1}))),
    ),
    bend(
        "listed hash of an unknown function",
        LISTS,
        Signed(|signed, dice| listed(signed, dice, |file| file["hashes"] = json!({"blake9": "00"}))),
    ),
    bend(
        "listed hash of another unknown function",
        LISTS,
        Signed(|signed, dice| {
            listed(signed, dice, |file| {
                if file["hashes"].is_object() {
                    file["hashes"]["blake9"] = "00".into();
                }
            });
        }),
    ),
    bend(
        "listed hash of another file",
        LISTS,
        Signed(|signed, dice| {
            listed(signed, dice, |file| {
                file["hashes"] = json!({"sha256": "11".repeat(32)});
            });
        }),
    ),
    bend(
        "listed hash in capital letters",
        LISTS,
        Signed(|signed, dice| {
            listed(signed, dice, |file| {
                if let Some(hash) = file["hashes"]["sha256"].as_str() {
                    file["hashes"] = json!({"sha256": hash.to_uppercase()});
                }
            });
        }),
    ),
];
