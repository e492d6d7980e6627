//! What every role says: its type, its version, when it expires.

use serde_json::{Value, json};

use super::Stage::Signed;
use super::{ALL, Bend, add, bend, remove};

pub const BENDS: &[Bend] = &[
    bend("version 0", ALL, Signed(|signed, _| signed["version"] = 0.into())),
    bend(
        "version below 0",
        ALL,
        Signed(|signed, _| signed["version"] = (-1).into()),
    ),
    bend(
        "version as text",
        ALL,
        Signed(|signed, _| signed["version"] = signed["version"].to_string().into()),
    ),
    bend(
        "version as fraction",
        ALL,
        Signed(|signed, _| signed["version"] = 1.0.into()),
    ),
    bend(
        "version true",
        ALL,
        Signed(|signed, _| signed["version"] = true.into()),
    ),
    bend(
        "version null",
        ALL,
        Signed(|signed, _| signed["version"] = Value::Null),
    ),
    bend(
        "version missing",
        ALL,
        Signed(|signed, _| remove(signed, "version")),
    ),
    bend("version one more", ALL, Signed(|signed, _| add(signed, 1))),
    bend("version one less", ALL, Signed(|signed, _| add(signed, -1))),
    bend(
        "version huge",
        ALL,
        Signed(|signed, dice| {
            signed["version"] =
                (*dice.pick(&[(1 << 31) - 1, 1 << 31, 1 << 32, (1 << 53) + 1, (1 << 63) - 1_u64])).into();
        }),
    ),
    bend(
        "version beyond 63 bits",
        ALL,
        Signed(|signed, dice| {
            signed["version"] = (*dice.pick(&[1 << 63, u64::MAX])).into();
        }),
    ),
    bend(
        "expired",
        ALL,
        Signed(|signed, _| signed["expires"] = "2026-11-20T11:59:59Z".into()),
    ),
    bend(
        "expires now",
        ALL,
        Signed(|signed, _| signed["expires"] = "2026-11-20T12:00:00Z".into()),
    ),
    bend(
        "expires far away",
        ALL,
        Signed(|signed, _| signed["expires"] = "9999-12-31T23:59:59Z".into()),
    ),
    bend(
        "expires in another spelling",
        ALL,
        Signed(|signed, dice| {
            let spellings = [
                "2027-12-01T00:00:00+00:00",
                "2027-12-01T00:00:00.5Z",
                "2027-12-01T00:00:00z",
                "2027-12-01 00:00:00Z",
            ];
            signed["expires"] = (*dice.pick(&spellings)).into();
        }),
    ),
    bend(
        "expires without leading zeros",
        ALL,
        Signed(|signed, _| signed["expires"] = "2027-2-1T0:0:0Z".into()),
    ),
    bend(
        "expires malformed",
        ALL,
        Signed(|signed, dice| {
            signed["expires"] = dice
                .pick(&[
                    json!("2027-12-01"),
                    json!(1),
                    json!(""),
                    json!("2027-13-01T00:00:00Z"),
                    Value::Null,
                ])
                .clone();
        }),
    ),
    bend(
        "expires missing",
        ALL,
        Signed(|signed, _| remove(signed, "expires")),
    ),
    bend(
        "expires on a leap second",
        ALL,
        Signed(|signed, _| signed["expires"] = "2027-06-30T23:59:60Z".into()),
    ),
    bend(
        "another type",
        ALL,
        Signed(|signed, dice| {
            signed["_type"] = (*dice.pick(&["Targets", "mirrors", "", "timestamp ", "roots"])).into();
        }),
    ),
    bend("type missing", ALL, Signed(|signed, _| remove(signed, "_type"))),
    bend(
        "specification 1.x",
        ALL,
        Signed(|signed, dice| {
            signed["spec_version"] = (*dice.pick(&["1.0", "1.0.0", "1.1.7", "1.99.99"])).into();
        }),
    ),
    bend(
        "specification not 1",
        ALL,
        Signed(|signed, dice| {
            signed["spec_version"] = (*dice.pick(&["2.0.0", "0.9", "10.0.0", "2"])).into();
        }),
    ),
    bend(
        "specification malformed",
        ALL,
        Signed(|signed, dice| {
            signed["spec_version"] = dice
                .pick(&[
                    json!("1"),
                    json!("1.x"),
                    json!("1.0.31.5"),
                    json!("1."),
                    json!("1.0-rc"),
                ])
                .clone();
        }),
    ),
    bend(
        "specification of another type",
        ALL,
        Signed(|signed, _| signed["spec_version"] = 1.into()),
    ),
    bend(
        "specification missing",
        ALL,
        Signed(|signed, _| remove(signed, "spec_version")),
    ),
    bend(
        "unknown field",
        ALL,
        Signed(|signed, _| signed["x-new"] = json!({"a": [1, null, "ü\n"]})),
    ),
    bend(
        "unknown fraction",
        ALL,
        Signed(|signed, _| signed["x-new"] = json!([1.5])),
    ),
    bend(
        "consistent_snapshot missing",
        "root",
        Signed(|signed, _| remove(signed, "consistent_snapshot")),
    ),
    bend(
        "consistent_snapshot of another type",
        "root",
        Signed(|signed, _| signed["consistent_snapshot"] = "no".into()),
    ),
];
