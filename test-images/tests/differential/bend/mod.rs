//! What can be wrong with a repository: with what a role says, with a file's signatures, with its bytes, or with what a
//! server has.

mod bytes;
mod delegations;
mod form;
mod keys;
mod lists;
mod server;
mod signatures;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dice::Dice;

/// One thing that is wrong, and the roles that it can be wrong with.
pub struct Bend {
    pub name: &'static str,
    pub roles: &'static str,
    pub stage: Stage,
}

/// When a file is changed.
pub enum Stage {
    /// What a role says, before it is signed: whoever does it has the keys.
    Signed(fn(&mut Value, &mut Dice)),
    /// The signed file as JSON.
    Envelope(fn(&mut Value, &mut Dice)),
    /// The signed file.
    Bytes(fn(&mut Vec<u8>, &mut Dice)),
    /// All files, given those of the step before.
    Server(fn(&mut Files, &Files, &mut Dice)),
}

type Files = BTreeMap<String, Vec<u8>>;

const fn bend(name: &'static str, roles: &'static str, stage: Stage) -> Bend {
    Bend { name, roles, stage }
}

const ALL: &str = "root timestamp snapshot targets delegated";
const TARGETS: &str = "targets delegated";
const LISTS: &str = "timestamp snapshot";

/// One of all, each as likely as any other.
pub fn pick(dice: &mut Dice) -> &'static Bend {
    let all = [
        form::BENDS,
        keys::BENDS,
        lists::BENDS,
        delegations::BENDS,
        signatures::BENDS,
        bytes::BENDS,
        server::BENDS,
    ];
    let mut at = dice.below(all.iter().map(|bends| bends.len()).sum());
    for bends in all {
        match bends.get(at) {
            Some(bend) => return bend,
            None => at -= bends.len(),
        }
    }
    panic!("the dice showed more than there are");
}

fn remove(value: &mut Value, name: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(name);
    }
}

fn add(value: &mut Value, number: i64) {
    if let Some(version) = value["version"].as_i64() {
        value["version"] = (version + number).into();
    }
}

fn length(file: &mut Value, number: i64) {
    if let Some(length) = file["length"].as_i64() {
        file["length"] = (length + number).into();
    }
}

fn signatures(file: &mut Value) -> &mut Vec<Value> {
    file["signatures"].as_array_mut().unwrap()
}

fn pick_name(list: &Value, dice: &mut Dice) -> String {
    let names: Vec<&String> = list.as_object().unwrap().keys().collect();
    (*dice.pick(&names)).clone()
}

fn pick_file(files: &Files, dice: &mut Dice) -> String {
    let names: Vec<&String> = files.keys().collect();
    (*dice.pick(&names)).clone()
}

fn listed(signed: &mut Value, dice: &mut Dice, change: fn(&mut Value)) {
    let name = pick_name(&signed["meta"], dice);
    change(&mut signed["meta"][name]);
}

/// Of a root's roles or of delegations.
fn each_role(
    signed: &mut Value,
    dice: &mut Dice,
    change: fn(&mut Value, &mut serde_json::Map<String, Value>),
) {
    if signed["roles"].is_object() {
        let mut keys = signed["keys"].as_object().unwrap().clone();
        let role = *dice.pick(&["root", "timestamp", "snapshot", "targets"]);
        change(&mut signed["roles"][role], &mut keys);
        signed["keys"] = keys.into();
    } else if let Some(mut keys) = signed["delegations"]["keys"].as_object().cloned()
        && let Some(roles) = signed["delegations"]["roles"]
            .as_array_mut()
            .filter(|roles| !roles.is_empty())
    {
        let at = dice.below(roles.len());
        change(&mut roles[at], &mut keys);
        signed["delegations"]["keys"] = keys.into();
    }
}

fn each_key(signed: &mut Value, dice: &mut Dice, change: fn(&mut serde_json::Map<String, Value>, &str)) {
    let keys = if signed["keys"].is_object() {
        &mut signed["keys"]
    } else {
        &mut signed["delegations"]["keys"]
    };
    if let Some(keys) = keys.as_object_mut().filter(|keys| !keys.is_empty()) {
        let ids: Vec<String> = keys.keys().cloned().collect();
        let id = dice.pick(&ids).clone();
        change(keys, &id);
    }
}

fn each_delegation(signed: &mut Value, dice: &mut Dice, change: fn(&mut Value, &mut Dice)) {
    if let Some(roles) = signed["delegations"]["roles"]
        .as_array_mut()
        .filter(|roles| !roles.is_empty())
    {
        let at = dice.below(roles.len());
        change(&mut roles[at], dice);
    }
}
