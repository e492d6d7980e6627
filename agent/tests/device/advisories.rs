//! Lessons of public advisories about other people's updaters, as far as a device decides them; `docs/advisories.md` has
//! them all. Each names the line that, removed, turns it red.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use millet_agent::reports::Privacy;
use millet_agent::{Pace, Pass};
use millet_machine::State;
use millet_protocol::{Sequence, Slot};

use crate::bench::{BLOCKS, Bench};
use crate::repository::{images, sick};
use crate::server::Kind;

/// Week 2 is on offer, by its full payload alone.
fn offered() -> Bench {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench
}

/// Red when `Repository::look` raises the floor before `outcome?`, or `Agent::confirm` is not what raises the build's.
#[test]
fn l11_floors_lie_apart_from_the_metadata_and_rise_only_after_the_checks() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    let kept = bench.device().state.kept().unwrap();
    assert_eq!(kept.time, Some(bench.repository.now));
    let mut old = Vec::new();
    bench
        .server
        .change("timestamp.json", |timestamp| old = timestamp.clone());

    // A newer timestamp that verifies, before a snapshot that does not.
    bench.repository.now += SignedDuration::from_hours(40);
    bench.edge.advance(SignedDuration::from_hours(40));
    bench
        .repository
        .build(&bench.server, 2, sick(2, BLOCKS), |manifest| {
            manifest.floor = Some(Sequence(2));
        });
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench
        .server
        .change("/2.snapshot.json", |snapshot| snapshot[40] ^= 1);
    bench.pass().unwrap_err();
    assert_eq!(bench.device().state.kept().unwrap(), kept);
    bench
        .server
        .change("/2.snapshot.json", |snapshot| snapshot[40] ^= 1);

    // A build that is not well takes its floor with it.
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    let kept = bench.device().state.kept().unwrap();
    assert_eq!((kept.time, kept.sequence), (Some(bench.repository.now), None));
    assert_eq!(bench.boot(), Slot::B);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::A);
    bench.pass().unwrap();
    assert_eq!(bench.device().state.kept().unwrap().sequence, None);

    // Without the metadata nothing says that the old timestamp is old, and the clock has stopped; the floor is still there.
    fs::remove_dir_all(bench.path("state/metadata")).unwrap();
    let now = millet_agent::edge::Edge::now(&*bench.edge);
    bench.edge.advance(Timestamp::UNIX_EPOCH.duration_since(now));
    bench
        .server
        .change("timestamp.json", |timestamp| *timestamp = old);
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("timestamp") && error.contains("expired"),
        "{error}"
    );
}

/// Red without `.filter(|bytes| file.matches(bytes))` in `Repository::document`.
#[test]
fn l15_a_document_that_is_replaced_on_the_disk_is_not_used() {
    let bench = Bench::new();
    let first = bench.pass().unwrap();
    for entry in fs::read_dir(bench.path("state/documents")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        // As valid as before, and of the same length.
        fs::write(&path, text.replace("running", "halted_").replace("V1", "V9")).unwrap();
    }
    bench.server.asked();
    assert_eq!(bench.pass().unwrap(), first);
    let asked = bench.server.asked();
    let documents = asked
        .iter()
        .filter(|asked| asked.path.starts_with("/repo/targets/"));
    assert_eq!(documents.count(), 2);
}

/// Red when `resume_on_origin` (`machine/src/resume.rs`) goes on where a journal ended and does not verify again.
#[test]
fn l15_a_slot_that_is_changed_after_its_verification_is_not_booted() {
    let mut bench = offered();
    bench.reboot = "false";
    bench.pass().unwrap_err();
    assert!(matches!(bench.journal().state, State::Staged { .. }));
    let mut system = fs::read(bench.path("system_b")).unwrap();
    system[5000] ^= 1;
    fs::write(bench.path("system_b"), system).unwrap();
    bench.reboot = "touch";
    bench.payloads();
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert!(!bench.payloads().is_empty());
    assert!(bench.holds(Slot::B, 2), "it was written anew");
}

/// Red without `.mode(…)` in `replace`, `append` or `try_lock` (`state.rs`).
#[test]
fn l18_what_a_device_knows_is_nobody_elses() {
    let mut bench = Bench::new();
    bench.release(2);
    let privacy = Privacy {
        reports: true,
        ..Privacy::default()
    };
    privacy.save(&bench.device().state).unwrap();
    bench.update();
    let device = bench.device();
    for secret in ["seed", "secret", "device.key"] {
        device.state.secret(secret, &*bench.edge).unwrap();
    }
    let mut seen = Vec::new();
    for entry in fs::read_dir(bench.path("state")).unwrap().map(Result::unwrap) {
        let (about, name) = (entry.metadata().unwrap(), entry.file_name());
        // Metadata and documents are everybody's, and the phase is for whoever looks on.
        if about.is_file() && name != "phase" {
            assert_eq!(about.permissions().mode() & 0o077, 0, "{name:?}");
            seen.push(name.into_string().unwrap());
        }
    }
    for expected in [
        "seed",
        "secret",
        "device.key",
        "journal.json",
        "floors.json",
        "look.json",
        "lock",
    ] {
        assert!(seen.iter().any(|name| name == expected), "{expected}: {seen:?}");
    }
}

/// Red without `bytes.len() as u64 > max_length` in `read_whole` (`net/body.rs`).
#[test]
fn l26_metadata_without_an_end_is_refused_and_nothing_is_forgotten() {
    for (endless, most) in [("2.root.json", "512000"), ("timestamp.json", "16384")] {
        let mut bench = Bench::new();
        bench.pass().unwrap();
        let known = bench.device().state.metadata().load().unwrap();
        bench.release(2);
        if endless == "2.root.json" {
            bench.server.fault(endless, 1000, Kind::EndlessStatus(200));
        } else {
            bench.server.fault(endless, 1000, Kind::Endless);
        }
        let error = bench.pass().unwrap_err().chain();
        assert!(
            error.contains(endless) && error.contains(&format!("longer than {most} bytes")),
            "{error}"
        );
        assert_eq!(bench.device().state.metadata().load().unwrap(), known);
    }
}

/// Red as above, and without `piece.truncate` in `Body::next` (`net/body.rs`).
#[test]
fn l26_a_payload_without_an_end_ends_where_it_shall() {
    for ranges in [true, false] {
        let bench = offered();
        if ranges {
            bench.server.fault("V2.payload", 1000, Kind::Endless);
        } else {
            bench.server.fault("V2.payload", 1000, Kind::EndlessStatus(200));
        }
        // Without ranges what comes is the part from its first byte on, which is not the file's: it must be refused.
        let pass = bench.pass().unwrap();
        if ranges {
            assert_eq!(pass, Pass::Rebooting);
            assert!(bench.holds(Slot::B, 2));
        } else {
            assert!(matches!(pass, Pass::Failed(_)), "{pass:?}");
        }
    }
}

/// Red without `LONGEST_PROBLEM` in `refusal` (`net/mod.rs`).
#[test]
fn l26_a_refusal_without_an_end_is_a_refusal() {
    let mut bench = Bench::new();
    bench.release(2);
    bench
        .server
        .fault("timestamp.json", 1000, Kind::EndlessStatus(503));
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("the server answered 503"), "{error}");
}

/// Slow for a test: a byte each 10 ms, where 1,000 bytes must come in 200 ms.
const DRIP: Kind = Kind::Drip(Duration::from_millis(10));

fn quick() -> Pace {
    Pace {
        silence: Duration::from_secs(10),
        span: Duration::from_millis(200),
        bytes: 1000,
    }
}

/// Red without `HttpError::TooSlow` in `Meter::count` (`net/pace.rs`): the server is never silent for long.
#[test]
fn l27_metadata_that_drips_is_given_up() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    bench.release(2);
    bench.pace = quick();
    bench.server.fault("timestamp.json", 1000, DRIP);
    bench.server.asked();
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("timestamp.json") && error.contains("bytes came in"),
        "{error}"
    );
    let tries = bench.server.asked();
    let tries = tries
        .iter()
        .filter(|asked| asked.path.ends_with("timestamp.json"));
    assert_eq!(tries.count(), 6);
    bench.server.heal();
    bench.update();
}

/// Red as above; and without `got >= self.enough` in `Backoff::progress`, where each byte would begin patience anew.
#[test]
fn l27_a_payload_that_drips_is_asked_for_again_and_not_for_ever() {
    let mut bench = offered();
    bench.pace = quick();
    bench.server.fault("V2.payload", 2, DRIP);
    bench.update();
    assert!(bench.holds(Slot::B, 2));

    let mut bench = offered();
    bench.pace = quick();
    // The head comes, and then nothing but drops.
    bench.server.fault("V2.payload", 1, Kind::Drop(usize::MAX));
    bench.server.fault("V2.payload", 1_000_000, DRIP);
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("bytes came in"), "{error}");
    assert!(bench.payloads().len() <= 7);
    bench.server.heal();
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}

/// Red without `length > max_length` in `read_whole` (`net/body.rs`), which is asked before anything is read; and when it
/// allocates what it is told.
#[test]
fn l29_a_length_that_is_claimed_and_not_sent_costs_nothing() {
    for (claimed, says) in [
        (u64::MAX >> 1, "longer than 16384 bytes"),
        (u64::from(u32::MAX) + 1, "longer than 16384 bytes"),
        (16_384, "the connection failed"),
    ] {
        let mut bench = Bench::new();
        bench.release(2);
        bench
            .server
            .fault("timestamp.json", 1000, Kind::ClaimLength(claimed));
        let error = bench.pass().unwrap_err().chain();
        assert!(error.contains(says), "{claimed}: {error}");
    }
    let mut bench = Bench::new();
    bench.release(2);
    bench.server.fault("timestamp.json", 1000, Kind::ClaimLength(100));
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("malformed"), "{error}");
}

/// Red without `HttpError::Truncated` in `Body::next` (`net/body.rs`), or without the comparison of the range in
/// `Client::open_range`.
#[test]
fn l29_a_payload_is_as_long_as_signed_metadata_says() {
    for claimed in [0, 1, 100, u64::MAX] {
        let bench = offered();
        bench.server.fault("V2.payload", 3, Kind::ClaimLength(claimed));
        bench.update();
        assert!(bench.holds(Slot::B, 2), "{claimed}");
    }
    for claimed in [
        "bytes 0-99/100",
        "bytes 1-18446744073709551615/*",
        "bytes */9",
        "lines 0-9/10",
        "",
    ] {
        let bench = offered();
        bench.server.fault("V2.payload", 1000, Kind::ClaimRange(claimed));
        let error = bench.pass().unwrap_err().chain();
        assert!(error.contains("was not asked for"), "{claimed}: {error}");
        assert!(!bench.path("rebooted").exists());
    }
}
