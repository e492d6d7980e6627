use std::fmt;

use crate::case::{Case, Said};

/// Who differs from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judge {
    Python,
    Sigstore,
}

impl fmt::Display for Judge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Python => "python-tuf",
            Self::Sigstore => "sigstore-tuf",
        })
    }
}

/// Which way a difference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// We refuse what another takes.
    Stricter,
    /// We take what another refuses.
    Looser,
    /// Both take it, and something else of it.
    Other,
}

/// The first step in which a verifier says something else than ours.
pub struct Difference<'a> {
    pub judge: Judge,
    pub case: &'a Case,
    pub step: usize,
    pub ours: Option<&'a Said>,
    pub other: Option<&'a Said>,
    /// What the third one says.
    pub third: Option<&'a Said>,
}

impl Difference<'_> {
    pub fn way(&self) -> Way {
        let trusted = |said: Option<&Said>| said.is_some_and(Said::is_trusted);
        match (trusted(self.ours), trusted(self.other)) {
            (false, true) => Way::Stricter,
            (true, false) => Way::Looser,
            _ => Way::Other,
        }
    }

    /// Why they differ; none when nobody knows.
    pub fn reason(&self) -> Option<&'static str> {
        let bends = self.case.bends_until(self.step);
        let fits = |known: &&Known| {
            known.judge == self.judge
                && known.ways.contains(&self.way())
                && known.bends.iter().any(|bend| bends.contains(bend))
        };
        if let Some(known) = KNOWN.iter().find(fits) {
            return Some(known.reason);
        }
        if self.case.online_keys_rotated(self.step) && self.way() == Way::Looser {
            return Some(FORGETS_LESS);
        }
        // python-tuf, which keeps what it has as we do, bears us out; or it went another way before, and then the files do.
        let borne_out = self.third == self.ours || self.case.changed_under_a_version(self.step);
        let again = self.judge == Judge::Sigstore && self.step > 0 && borne_out;
        again.then_some(FETCHES_AGAIN)
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bends = self.case.bends_until(self.step);
        writeln!(
            out,
            "{} at step {}, {:?}, bends {bends:?}",
            self.judge,
            self.step,
            self.way()
        )?;
        for (name, said) in [("ours ", self.ours), ("other", self.other), ("third", self.third)] {
            writeln!(out, "    {name} {said:?}")?;
        }
        Ok(())
    }
}

const FORGETS_LESS: &str = "When the keys of timestamp or snapshot rotate, both are deleted here, as 5.3.11 asks; there \
    what still verifies stays, and bounds what comes.";

const FETCHES_AGAIN: &str = "It fetches roles again that the others have already in that version: where somebody signed one \
    version twice, or bent what the server has, they see two files.";

/// Bends of a timestamp that lists the snapshot in a known version and says something else of it.
const SAME_VERSION: &[&str] = &[
    "listed version one less",
    "listed length one more",
    "listed length one less",
    "listed hash of another file",
];

const SAME_SNAPSHOT: &str = "There the snapshot that is kept will do when the timestamp names its version, also with another \
    length or hash; here it must have those too.";

/// A difference that was looked into.
struct Known {
    judge: Judge,
    ways: &'static [Way],
    bends: &'static [&'static str],
    reason: &'static str,
}

const STRICTER: &[Way] = &[Way::Stricter, Way::Other];
const LOOSER: &[Way] = &[Way::Looser, Way::Other];
const EITHER: &[Way] = &[Way::Stricter, Way::Looser, Way::Other];

const KNOWN: &[Known] = &[
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: SAME_VERSION,
        reason: SAME_SNAPSHOT,
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: SAME_VERSION,
        reason: SAME_SNAPSHOT,
    },
    Known {
        judge: Judge::Python,
        ways: LOOSER,
        bends: &[
            "a key of an unknown type",
            "a key of an unknown scheme",
            "a key with another type",
        ],
        reason: "It refuses a file for one key of a type that it does not know; here such a key verifies nothing, and the \
            others do what they did.",
    },
    Known {
        judge: Judge::Python,
        ways: LOOSER,
        bends: &["a role too many"],
        reason: "It refuses a root that names more than the four roles; here what is not known is kept and not used.",
    },
    Known {
        judge: Judge::Python,
        ways: LOOSER,
        bends: &["listed length null", "listed hashes null", "delegations null"],
        reason: "It checks signatures over what it writes anew, and a `null` is lost on the way; here they are checked over \
            what stood there.",
    },
    Known {
        judge: Judge::Python,
        ways: LOOSER,
        bends: &["listed hash of another unknown function"],
        reason: "There every hash function that is listed must be known; here one is enough, and all that are known must agree.",
    },
    Known {
        judge: Judge::Python,
        ways: LOOSER,
        bends: &["terminating missing"],
        reason: "There a delegation must say whether it is terminating; here it is not when it does not say.",
    },
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: &["NaN"],
        reason: "Python's JSON takes `NaN`, which RFC 8259 does not have.",
    },
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: &["a name twice", "a name twice, outside"],
        reason: "Of a name that stands twice the last counts there; here such a file is refused.",
    },
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: &[
            "consistent_snapshot of another type",
            "keyids of another type",
            "one signature of another type",
            "paths of another type",
            "terminating of another type",
            "version true",
        ],
        reason: "It takes a value of another type for one that Python treats alike.",
    },
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: &["delegated name too long for a file"],
        reason: "A role whose name makes no file name is refused here with the file that names it; there when it is kept.",
    },
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: &["expires far away"],
        reason: "Instants end on 30 December 9999 at 22:00 here, where every zone can still be told the time.",
    },
    Known {
        judge: Judge::Python,
        ways: STRICTER,
        bends: &["too long"],
        reason: "Also the first root's length is bounded here.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["a name twice", "a name twice, outside"],
        reason: "Of a name that stands twice the last counts there; here such a file is refused.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["too long"],
        reason: "Also the first root's length is bounded here.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["threshold 0", "a role missing", "keyid twice"],
        reason: "It looks at a role's keys when it needs them, and lets one stand twice; here such a file is refused at once.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["a target with empty hashes", "listed hashes empty"],
        reason: "It refuses an empty list of hashes when it needs one; here such a file is refused at once.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &[
            "delegated name empty",
            "delegated name of nobody",
            "list without a role",
            "delegation to itself",
        ],
        reason: "It passes over a delegated role that the snapshot does not list; here the search ends, since what that role says \
            would have come first.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &[
            "delegated name of a top-level role",
            "delegated name twice",
            "delegated name too long for a file",
        ],
        reason: "It passes over such a delegation, or takes the first of two; here the file is refused.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &[
            "expires in another spelling",
            "expires on a leap second",
            "expires without leading zeros",
        ],
        reason: "It takes an instant in every spelling of RFC 3339; 4.2.1 has one.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["expires now"],
        reason: "There a file is still valid at the instant at which it expires; the workflow asks for a later one.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["list with more in it"],
        reason: "It lets a timestamp list more than the snapshot; 4.6 does not.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["listed hash in capital letters"],
        reason: "It compares hashes without regard to case.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["neither paths nor prefixes", "paths and prefixes"],
        reason: "It lets a delegation have both of paths and prefixes, or none; 4.5 asks for exactly one.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["specification malformed"],
        reason: "It looks at the first number of `spec_version` alone.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &[
            "version 0",
            "version one less",
            "listed version 0",
            "listed version one less",
        ],
        reason: "It takes the version 0.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: STRICTER,
        bends: &["a key with another type"],
        reason: "It looks at a key's scheme alone, not at its type.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: EITHER,
        bends: &["paths with a class", "paths with many stars"],
        reason: "Its patterns have classes, and it refuses what is malformed as one; here `[` and `*` beside `*` are nothing special.",
    },
    Known {
        judge: Judge::Sigstore,
        ways: EITHER,
        bends: &["version beyond 63 bits"],
        reason: "It adds 1 to the highest version that there is, and panics.",
    },
];
