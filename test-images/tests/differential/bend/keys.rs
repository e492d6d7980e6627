//! Keys and thresholds.

use serde_json::json;

use super::Stage::Signed;
use super::{Bend, bend, each_key, each_role, remove};

pub const BENDS: &[Bend] = &[
    bend(
        "threshold 0",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| role["threshold"] = 0.into())),
    ),
    bend(
        "threshold below 0",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| role["threshold"] = (-1).into())),
    ),
    bend(
        "threshold as text",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| role["threshold"] = "1".into())),
    ),
    bend(
        "threshold missing",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| remove(role, "threshold"))),
    ),
    bend(
        "threshold above the keys",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| role["threshold"] = 9.into())),
    ),
    bend(
        "keyid twice",
        "root targets",
        Signed(|signed, dice| {
            each_role(signed, dice, |role, _| {
                let first = role["keyids"][0].clone();
                role["keyids"].as_array_mut().unwrap().push(first);
            });
        }),
    ),
    bend(
        "keyid without a key",
        "root targets",
        Signed(|signed, dice| {
            each_role(signed, dice, |role, _| {
                role["keyids"]
                    .as_array_mut()
                    .unwrap()
                    .push("00".repeat(32).into());
            });
        }),
    ),
    bend(
        "keyids missing",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| remove(role, "keyids"))),
    ),
    bend(
        "keyids empty",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| role["keyids"] = json!([]))),
    ),
    bend(
        "keyids of another type",
        "root targets",
        Signed(|signed, dice| each_role(signed, dice, |role, _| role["keyids"] = json!({}))),
    ),
    bend(
        "a key missing",
        "root targets",
        Signed(|signed, dice| {
            each_key(signed, dice, |keys, id| {
                keys.remove(id);
            });
        }),
    ),
    bend(
        "a key of an unknown type",
        "root targets",
        Signed(|signed, dice| {
            each_key(signed, dice, |keys, id| {
                keys[id]["keytype"] = "sphincs".into();
                keys[id]["scheme"] = "shake-128s".into();
            });
        }),
    ),
    bend(
        "a key of an unknown scheme",
        "root targets",
        Signed(|signed, dice| each_key(signed, dice, |keys, id| keys[id]["scheme"] = "ed448".into())),
    ),
    bend(
        "a key with another type",
        "root targets",
        Signed(|signed, dice| each_key(signed, dice, |keys, id| keys[id]["keytype"] = "rsa".into())),
    ),
    bend(
        "a key that is cut off",
        "root targets",
        Signed(|signed, dice| {
            each_key(signed, dice, |keys, id| {
                keys[id]["keyval"]["public"] = "abcd".into();
            });
        }),
    ),
    bend(
        "a key that is not hexadecimal",
        "root targets",
        Signed(|signed, dice| {
            each_key(signed, dice, |keys, id| {
                keys[id]["keyval"]["public"] = "zz".repeat(32).into();
            });
        }),
    ),
    bend(
        "a key in capital letters",
        "root targets",
        Signed(|signed, dice| {
            each_key(signed, dice, |keys, id| {
                keys[id]["keyval"]["public"] = keys[id]["keyval"]["public"]
                    .as_str()
                    .unwrap()
                    .to_uppercase()
                    .into();
            });
        }),
    ),
    bend(
        "a key without its value",
        "root targets",
        Signed(|signed, dice| each_key(signed, dice, |keys, id| remove(&mut keys[id], "keyval"))),
    ),
    bend(
        "a key of small order",
        "root targets",
        Signed(|signed, dice| {
            each_key(signed, dice, |keys, id| {
                keys[id]["keyval"]["public"] = format!("01{}", "00".repeat(31)).into();
            });
        }),
    ),
    bend(
        "a key with unknown fields",
        "root targets",
        Signed(|signed, dice| each_key(signed, dice, |keys, id| keys[id]["x-owner"] = json!("@me"))),
    ),
    bend(
        "two identifiers of one key",
        "root targets",
        Signed(|signed, dice| {
            each_role(signed, dice, |role, keys| {
                let first = role["keyids"][0].as_str().unwrap().to_owned();
                let object = keys.get(&first).cloned();
                if let Some(object) = object {
                    keys.insert("alias".to_owned(), object);
                    role["keyids"].as_array_mut().unwrap().push("alias".into());
                    role["threshold"] = 2.into();
                }
            });
        }),
    ),
    bend(
        "a role missing",
        "root",
        Signed(|signed, dice| {
            let role = *dice.pick(&["root", "timestamp", "snapshot", "targets"]);
            remove(&mut signed["roles"], role);
        }),
    ),
    bend(
        "a role too many",
        "root",
        Signed(|signed, _| signed["roles"]["mirrors"] = signed["roles"]["root"].clone()),
    ),
    bend("keys missing", "root", Signed(|signed, _| remove(signed, "keys"))),
    bend(
        "keys empty",
        "root",
        Signed(|signed, _| signed["keys"] = json!({})),
    ),
];
