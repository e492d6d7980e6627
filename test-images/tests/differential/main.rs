//! The verifier beside two others', python-tuf and sigstore-tuf: generated repositories, good and bent, refreshed in
//! sequences. All three get the same bytes and the same instants; they must trust the same or be known to differ.
//!
//! It needs a Python with `tuf`; `.ci/judges` and `.ci/long` bring one:
//!
//! ```text
//! MILLET_TUF_PYTHON=PYTHON MILLET_TUF_CASES=2000 cargo test --workspace --test differential -- --ignored --nocapture
//! ```

#![expect(clippy::unwrap_used, reason = "a step that fails has failed the test")]

mod bend;
mod case;
mod dice;
mod explain;
mod millet;
mod python;
mod sigstore;
mod world;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

use case::{Answer, Case};
use explain::{Difference, Judge, Way};
use python::Python;

#[test]
#[ignore = "needs a Python with tuf"]
fn three_verifiers_agree_or_are_known_to_differ() {
    let cases: u64 = setting("MILLET_TUF_CASES").map_or(2000, |cases| cases.parse().unwrap());
    let first: u64 = setting("MILLET_TUF_SEED").map_or(1, |seed| seed.parse().unwrap());
    let python = setting("MILLET_TUF_PYTHON").expect("MILLET_TUF_PYTHON names a Python with tuf");
    let (mut questions, mut answers) = Python::start(&python);
    let (sender, judged) = mpsc::sync_channel::<(u64, Case, Answer, Answer)>(256);
    let asking = thread::spawn(move || {
        for seed in first..first + cases {
            let case = Case::of_seed(seed);
            questions.ask(&case);
            let (ours, sigstore) = (millet::judge(&case), sigstore::judge(&case));
            sender.send((seed, case, ours, sigstore)).unwrap();
        }
    });
    let mut tally = Tally::default();
    for (seed, case, ours, sigstore) in judged {
        tally.count(seed, &case, &ours, &answers.next(), &sigstore);
    }
    asking.join().unwrap();
    tally.print(cases);
    assert!(tally.unexplained.is_empty(), "{:#?}", tally.unexplained);
}

/// What came of all cases.
#[derive(Default)]
struct Tally {
    refreshes: u64,
    trusted: u64,
    agreed: BTreeMap<Judge, u64>,
    explained: BTreeMap<(Judge, &'static str), u64>,
    bends: BTreeMap<&'static str, u64>,
    unexplained: BTreeMap<Unexplained, u64>,
}

/// Which differences are alike.
type Unexplained = (Judge, Way, Vec<&'static str>);

impl Tally {
    fn count(&mut self, seed: u64, case: &Case, ours: &Answer, python: &Answer, sigstore: &Answer) {
        self.refreshes += ours.len() as u64;
        self.trusted += ours.iter().filter(|said| said.is_trusted()).count() as u64;
        for step in &case.steps {
            for bend in &step.bends {
                *self.bends.entry(bend).or_default() += 1;
            }
        }
        for (judge, other, third) in [
            (Judge::Python, python, sigstore),
            (Judge::Sigstore, sigstore, python),
        ] {
            let longest = ours.len().max(other.len());
            let Some(at) = (0..longest).find(|at| ours.get(*at) != other.get(*at)) else {
                *self.agreed.entry(judge).or_default() += 1;
                continue;
            };
            // What comes after a difference starts from other states, and says nothing.
            let difference = Difference {
                judge,
                case,
                step: at,
                ours: ours.get(at),
                other: other.get(at),
                third: third.get(at),
            };
            if let Some(reason) = difference.reason() {
                *self.explained.entry((judge, reason)).or_default() += 1;
                continue;
            }
            let alike = (judge, difference.way(), case.bends_until(at));
            let count = self.unexplained.entry(alike).or_default();
            *count += 1;
            if *count == 1 {
                println!("seed {seed}: {difference:#}");
            }
        }
    }

    /// In the form of `docs/long/differential.md`.
    fn print(&self, cases: u64) {
        let bent: u64 = self.bends.values().sum();
        println!(
            "- cases: {cases}, refreshes: {}, of them trusted: {}",
            self.refreshes, self.trusted
        );
        println!("- bends: {bent} of {} kinds", self.bends.len());
        for judge in [Judge::Python, Judge::Sigstore] {
            let explained = self.explained.iter().filter(|((of, _), _)| *of == judge);
            let explained: u64 = explained.map(|(_, count)| count).sum();
            let agreed = self.agreed.get(&judge).copied().unwrap_or(0);
            println!("- {judge}: {agreed} cases agree in every step, {explained} differ for a known reason");
        }
        println!("- unexplained: {}\n", self.unexplained.values().sum::<u64>());
        println!("| beside | cases | why they differ |\n| --- | --- | --- |");
        for ((judge, reason), count) in &self.explained {
            println!("| {judge} | {count} | {reason} |");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own configuration")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
