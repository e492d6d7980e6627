//! Our verifier, driven as devices drive it.

use jiff::Timestamp;
use millet_signing::metadata::Role;
use millet_signing::{Files, Limits, Refresh, Search, Step};

use crate::case::{Answer, Case, Said, Step as Served};

pub fn judge(case: &Case) -> Answer {
    let mut kept = Files::new();
    let mut answer = Answer::new();
    for step in &case.steps {
        // A cached root that does not parse any more is as good as lost.
        let begin =
            |root: &[u8], now: Timestamp| Refresh::start(root, kept.clone(), &[], Limits::default(), now);
        let cached = kept.get("root.json").and_then(|root| begin(root, step.now).ok());
        let refresh = match cached {
            Some(refresh) => Ok(refresh),
            None => begin(&case.first_root, step.now),
        };
        let Ok(mut refresh) = refresh else {
            answer.push(Said::no_root());
            break;
        };
        let outcome = drive(&mut refresh, step);
        let set = refresh.set();
        let version = set.root().version();
        let mut said = match (outcome, set.timestamp(), set.snapshot(), set.targets()) {
            (Some(()), Some(timestamp), Some(snapshot), Some(targets)) => Said {
                refresh: format!(
                    "ok r{version} t{} s{} g{}",
                    timestamp.version(),
                    snapshot.version(),
                    targets.version()
                ),
                targets: Vec::new(),
            },
            _ => Said::refused(version),
        };
        if said.is_trusted() {
            for path in &step.wanted {
                let found = find(&mut refresh, step, path);
                said.targets.push(found);
                if said.targets.last().is_some_and(|said| said == "refused") {
                    break;
                }
            }
        }
        kept = refresh.files();
        answer.push(said);
    }
    answer
}

fn find(refresh: &mut Refresh, step: &Served, path: &str) -> String {
    if refresh.want_target(path).is_err() || drive(refresh, step).is_none() {
        return "refused".to_owned();
    }
    match refresh.set().search(path) {
        Search::Found { file, .. } => {
            let hashes: Vec<&str> = file.hashes.values().map(String::as_str).collect();
            format!("{} {}", file.length, hashes.join(" "))
        }
        Search::Missing | Search::Needs { .. } => "none".to_owned(),
    }
}

fn drive(refresh: &mut Refresh, step: &Served) -> Option<()> {
    while let Step::Fetch { name, max_length, .. } = refresh.next() {
        let bytes = step.files.get(&name);
        if bytes.is_some_and(|bytes| bytes.len() as u64 > max_length) {
            return None;
        }
        refresh.supply(bytes.cloned()).ok()?;
    }
    Some(())
}
