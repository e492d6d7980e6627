//! Targets, and delegations to others.

use serde_json::{Value, json};

use super::Stage::Signed;
use super::{Bend, TARGETS, bend, each_delegation, remove};
use crate::world::{key_id, key_object, role_keys};

pub const BENDS: &[Bend] = &[
    bend(
        "targets missing",
        TARGETS,
        Signed(|signed, _| remove(signed, "targets")),
    ),
    bend(
        "targets of another type",
        TARGETS,
        Signed(|signed, _| signed["targets"] = json!([])),
    ),
    bend(
        "a target without hashes",
        TARGETS,
        Signed(|signed, _| signed["targets"]["a/x"] = json!({"length": 1})),
    ),
    bend(
        "a target with empty hashes",
        TARGETS,
        Signed(|signed, _| signed["targets"]["a/x"] = json!({"length": 1, "hashes": {}})),
    ),
    bend(
        "a target of length below 0",
        TARGETS,
        Signed(|signed, _| signed["targets"]["a/x"] = json!({"length": -1, "hashes": {"sha256": "00"}})),
    ),
    bend(
        "a target without a length",
        TARGETS,
        Signed(|signed, _| signed["targets"]["a/x"] = json!({"hashes": {"sha256": "00"}})),
    ),
    bend(
        "a target with custom",
        TARGETS,
        Signed(|signed, _| {
            signed["targets"]["a/x"] =
                json!({"length": 0, "hashes": {"sha256": "00"}, "custom": {"a": 1}, "x": 2});
        }),
    ),
    bend(
        "delegations null",
        TARGETS,
        Signed(|signed, _| signed["delegations"] = Value::Null),
    ),
    bend(
        "delegations empty",
        TARGETS,
        Signed(|signed, _| signed["delegations"] = json!({})),
    ),
    bend(
        "delegated name of a top-level role",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, dice| {
                role["name"] = (*dice.pick(&["root", "timestamp", "snapshot", "targets"])).into();
            });
        }),
    ),
    bend(
        "delegated name empty",
        TARGETS,
        Signed(|signed, dice| each_delegation(signed, dice, |role, _| role["name"] = "".into())),
    ),
    bend(
        "delegated name too long for a file",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| role["name"] = "long".repeat(80).into());
        }),
    ),
    bend(
        "delegated name missing",
        TARGETS,
        Signed(|signed, dice| each_delegation(signed, dice, |role, _| remove(role, "name"))),
    ),
    bend(
        "delegated name twice",
        TARGETS,
        Signed(|signed, _| {
            if let Some(roles) = signed["delegations"]["roles"].as_array_mut()
                && let Some(first) = roles.first().cloned()
            {
                roles.push(first);
            }
        }),
    ),
    bend(
        "delegated name of nobody",
        TARGETS,
        Signed(|signed, dice| each_delegation(signed, dice, |role, _| role["name"] = "nobody".into())),
    ),
    bend(
        "delegation to itself",
        TARGETS,
        Signed(|signed, _| {
            let mut role = role_keys(&[31], 1);
            role["name"] = "one".into();
            role["paths"] = json!(["*", "a/*"]);
            role["terminating"] = false.into();
            signed["delegations"] = json!({"keys": {key_id(31): key_object(31)}, "roles": [role]});
        }),
    ),
    bend(
        "paths and prefixes",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| {
                role["paths"] = json!(["*"]);
                role["path_hash_prefixes"] = json!(["0"]);
            });
        }),
    ),
    bend(
        "neither paths nor prefixes",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| {
                remove(role, "paths");
                remove(role, "path_hash_prefixes");
            });
        }),
    ),
    bend(
        "paths empty",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| {
                remove(role, "path_hash_prefixes");
                role["paths"] = json!([]);
            });
        }),
    ),
    bend(
        "paths of another type",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| {
                remove(role, "path_hash_prefixes");
                role["paths"] = "a/*".into();
            });
        }),
    ),
    bend(
        "paths with a class",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, dice| {
                remove(role, "path_hash_prefixes");
                role["paths"] = json!([*dice.pick(&["a/[xy]", "[ab]/x.tgz", "a/[!x]", "b/[", "[]"])]);
            });
        }),
    ),
    bend(
        "paths with many stars",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, dice| {
                remove(role, "path_hash_prefixes");
                role["paths"] = json!([*dice.pick(&["**", "a/**", "**/x", "***", "b/x**z"])]);
            });
        }),
    ),
    bend(
        "prefixes in capital letters",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| {
                remove(role, "paths");
                role["path_hash_prefixes"] = json!(["A", "B", "C", "D", "E", "F"]);
            });
        }),
    ),
    bend(
        "prefix empty",
        TARGETS,
        Signed(|signed, dice| {
            each_delegation(signed, dice, |role, _| {
                remove(role, "paths");
                role["path_hash_prefixes"] = json!([""]);
            });
        }),
    ),
    bend(
        "terminating missing",
        TARGETS,
        Signed(|signed, dice| each_delegation(signed, dice, |role, _| remove(role, "terminating"))),
    ),
    bend(
        "terminating of another type",
        TARGETS,
        Signed(|signed, dice| each_delegation(signed, dice, |role, _| role["terminating"] = 1.into())),
    ),
    bend(
        "delegated keys missing",
        TARGETS,
        Signed(|signed, _| {
            if signed["delegations"].is_object() {
                remove(&mut signed["delegations"], "keys");
            }
        }),
    ),
];
