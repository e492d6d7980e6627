use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::SignedDuration;
use millet_agent::Pass;
use millet_agent::slots::{Folder, Storage};
use millet_machine::State;
use millet_payload::{ReadAt, Target};
use millet_protocol::{ErrorCode, Outcome, PartitionName, Slot};

use crate::bench::{BLOCKS, Bench};
use crate::repository::{images, name, sick};
use crate::server::Kind;

/// Several operations, so that there is a checkpoint between them.
const LARGE: usize = 1500;

#[test]
fn a_dropped_connection_is_taken_up_where_it_broke() {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench.server.fault("V2.payload", 3, Kind::Drop(100_000));
    bench.update();
    let firsts: Vec<u64> = bench.payloads().into_iter().map(|(_, first)| first).collect();
    assert!(firsts.len() >= 3, "{firsts:?}");
    assert!(
        firsts.is_sorted() && firsts[firsts.len() - 1] > 100_000,
        "{firsts:?}"
    );
}

#[test]
fn a_server_that_dies_ends_the_pass_and_the_next_process_goes_on() {
    let mut bench = Bench::with(LARGE);
    bench.repository.build(&bench.server, 2, images(2, LARGE), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    // The head comes, then most of the blobs, then nothing any more.
    bench.server.fault("V2.payload", 1, Kind::NoRanges);
    bench.server.fault("V2.payload", 1, Kind::Drop(5 << 20));
    bench.server.fault("V2.payload", 1000, Kind::Status(503, None));
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("503"), "{error}");
    let State::Writing { progress, .. } = bench.journal().state else {
        panic!("{:?}", bench.journal().state)
    };
    assert!(progress.blob_offset > 2 << 20, "{progress:?}");
    bench.server.heal();
    bench.payloads();
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    assert!(
        bench
            .payloads()
            .iter()
            .any(|(_, first)| *first > progress.blob_offset)
    );
}

#[test]
fn a_busy_server_is_left_alone() {
    let mut bench = Bench::new();
    bench.release(2);
    bench
        .server
        .fault("timestamp.json", 1, Kind::Status(503, Some("20")));
    let before = millet_agent::edge::Edge::now(&*bench.edge);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    let waited = millet_agent::edge::Edge::now(&*bench.edge).duration_since(before);
    assert_eq!(waited, SignedDuration::from_secs(20));

    let mut bench = Bench::new();
    bench.release(2);
    bench
        .server
        .fault("timestamp.json", 1, Kind::Status(503, Some("7200")));
    let error = bench.pass().unwrap_err();
    assert_eq!(error.busy(), Some(std::time::Duration::from_secs(7200)));
    assert!(error.chain().contains("come back in 7200 seconds"), "{error}");
}

#[test]
fn a_server_without_ranges_serves_too() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.server.fault(".payload", 1000, Kind::NoRanges);
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}

#[test]
fn a_delta_that_is_missing_gives_way_to_the_full_payload() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.server.fault("V1-V2.payload", 1000, Kind::Status(404, None));
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}

#[test]
fn a_tampered_delta_gives_way_to_the_full_payload() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.server.change("V1-V2.payload", |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    let files: Vec<String> = bench.payloads().into_iter().map(|(file, _)| file).collect();
    assert_eq!(files.first().map(String::as_str), Some("V1-V2.payload"));
    assert_eq!(files.last().map(String::as_str), Some("V2.payload"));
}

#[test]
fn a_tampered_head_is_refused_before_anything_is_written() {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench.server.change("V2.payload", |bytes| bytes[100] ^= 1);
    let before = fs::read(bench.path("system_b")).unwrap();
    let Pass::Failed(failed) = bench.pass().unwrap() else {
        panic!()
    };
    assert_eq!(
        (failed.build, failed.error),
        (name(2), Some(ErrorCode::PayloadRefused))
    );
    assert_eq!(fs::read(bench.path("system_b")).unwrap(), before);
    assert!(!bench.block().slot(Slot::B).bootable());
}

#[test]
fn a_tampered_payload_never_becomes_active_and_its_build_is_not_tried_again() {
    let mut bench = Bench::new();
    bench.release(2);
    for payload in ["V1-V2.payload", ".V2.payload"] {
        bench.server.change(payload, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
    }
    let Pass::Failed(failed) = bench.pass().unwrap() else {
        panic!()
    };
    assert_eq!(
        (failed.build, failed.error),
        (name(2), Some(ErrorCode::HashMismatch))
    );
    assert!(!bench.block().slot(Slot::B).bootable());
    assert_eq!(bench.boot(), Slot::A);
    bench.payloads();
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(_)));
    assert!(bench.payloads().is_empty());
    bench.release(3);
    bench.update();
    assert!(bench.holds(Slot::B, 3));
}

#[test]
fn a_truncated_file_ends_the_pass_and_is_taken_up_when_it_is_whole() {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    let mut rest = Vec::new();
    bench
        .server
        .change("V2.payload", |bytes| rest = bytes.split_off(bytes.len() / 2));
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("V2.payload"), "{error}");
    assert!(!bench.block().slot(Slot::B).bootable());
    bench.server.change("V2.payload", |bytes| bytes.append(&mut rest));
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}

#[test]
fn expired_metadata_is_named() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.edge.advance(SignedDuration::from_hours(30));
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("timestamp") && error.contains("expired"),
        "{error}"
    );
    assert!(!bench.path("rebooted").exists());
    bench.later(SignedDuration::ZERO);
    bench.repository.now += SignedDuration::from_hours(30);
    bench.repository.publish(&bench.server);
    bench.update();
}

#[test]
fn whoever_breaks_a_refresh_off_makes_the_device_forget_nothing() {
    for broken in ["2.root.json", "timestamp.json"] {
        let bench = Bench::new();
        bench.pass().unwrap();
        let known = bench.device().state.metadata().load().unwrap();
        bench.server.fault(broken, 1000, Kind::Status(503, None));
        bench.pass().unwrap_err();
        assert_eq!(bench.device().state.metadata().load().unwrap(), known);
        bench.server.heal();
        bench
            .server
            .put(&format!("/repo/metadata/{broken}"), b"{}".to_vec());
        bench.pass().unwrap_err();
        assert_eq!(bench.device().state.metadata().load().unwrap(), known);
    }
}

#[test]
fn a_clock_that_went_back_counts_as_standing_at_the_last_signature() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    bench.release(2);
    bench.edge.advance(SignedDuration::from_hours(-24 * 400));
    let look = bench
        .run(bench.device().repository.look(millet_agent::repository::Keep::No))
        .unwrap();
    assert!(!look.trusts(millet_agent::edge::Edge::now(&*bench.edge)));
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
}

#[test]
fn a_clock_beyond_every_expiry_refuses_and_says_why() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    bench.release(2);
    let years = SignedDuration::from_hours(24 * 365 * 12);
    bench.edge.advance(years);
    let said = bench.pass().unwrap_err().chain();
    assert!(
        said.contains("2038-") && said.contains("the clock is wrong"),
        "{said}"
    );
    // Put right, it goes on as if nothing had been.
    bench.edge.advance(-years);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
}

#[test]
fn a_sick_build_is_left() {
    let mut bench = Bench::new();
    bench.repository.build(&bench.server, 2, sick(2, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::B);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::A);
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(_)));
    let journal = bench.journal();
    assert_eq!(journal.failed.unwrap().error, Some(ErrorCode::Unhealthy));
    assert!(!bench.block().slot(Slot::B).bootable());
}

#[test]
fn a_build_that_does_not_start_is_noticed() {
    let mut bench = Bench::new();
    bench.release(2);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    while bench.boot() == Slot::B {}
    let draft = |outcome| {
        bench
            .journal()
            .outbox
            .iter()
            .any(|draft| draft.outcome == outcome)
    };
    bench.agent().unwrap();
    assert!(draft(Outcome::RolledBack));
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(_)));
    assert_eq!(bench.journal().failed.unwrap().error, Some(ErrorCode::NoBoot));
}

#[test]
fn two_agents_do_not_share_a_device() {
    let bench = Bench::new();
    let first = bench.agent().unwrap();
    let error = bench.agent().map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("another millet-agent") && error.contains(&std::process::id().to_string()),
        "{error}"
    );
    drop(first);
    bench.agent().unwrap();
}

/// Partitions that misbehave.
struct Evil {
    folder: Folder,
    faults: Arc<Faults>,
}

/// How they do.
struct Faults {
    /// Bytes that may still be written before the disk is full.
    room: AtomicU64,
    /// Whether one bit turns after it was written.
    rot: AtomicBool,
    /// Whether what was written cannot be read back.
    mute: AtomicBool,
    /// How often a partition of slot B may still be opened to be read.
    worn: AtomicU64,
}

struct Full(Box<dyn Target>, Arc<Faults>);

impl Target for Full {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let left = self.1.room.load(Ordering::Relaxed);
        let left = left
            .checked_sub(data.len() as u64)
            .ok_or(io::ErrorKind::StorageFull)?;
        self.1.room.store(left, Ordering::Relaxed);
        self.0.write_all_at(data, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

impl ReadAt for Full {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

impl Storage for Evil {
    fn read(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn ReadAt>> {
        if slot == Slot::B {
            let left = self.faults.worn.load(Ordering::Relaxed);
            let left = left
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("the medium is worn"))?;
            self.faults.worn.store(left, Ordering::Relaxed);
        }
        self.folder.read(partition, slot)
    }
    fn write(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn Target>> {
        Ok(Box::new(Full(
            self.folder.write(partition, slot)?,
            Arc::clone(&self.faults),
        )))
    }
    fn read_back(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn ReadAt>> {
        if self.faults.mute.load(Ordering::Relaxed) {
            return Err(io::Error::other("the medium does not answer"));
        }
        if self.faults.rot.load(Ordering::Relaxed) && partition.as_str() == "system" {
            let mut byte = [0];
            self.folder
                .read(partition, slot)?
                .read_exact_at(&mut byte, 5000)?;
            self.folder
                .write(partition, slot)?
                .write_all_at(&[byte[0] ^ 4], 5000)?;
        }
        self.folder.read_back(partition, slot)
    }
}

fn evil(bench: &mut Bench) -> Arc<Faults> {
    let faults = Arc::new(Faults {
        room: AtomicU64::new(u64::MAX),
        rot: AtomicBool::new(false),
        mute: AtomicBool::new(false),
        worn: AtomicU64::new(u64::MAX),
    });
    bench.storage = Some(Arc::new(Evil {
        folder: Folder::new(bench.folder.path().to_owned()),
        faults: Arc::clone(&faults),
    }));
    faults
}

#[test]
fn what_does_not_read_back_is_never_chosen() {
    let mut bench = Bench::new();
    bench.release(2);
    evil(&mut bench).rot.store(true, Ordering::Relaxed);
    let Pass::Failed(failed) = bench.pass().unwrap() else {
        panic!()
    };
    assert_eq!(failed.error, Some(ErrorCode::HashMismatch));
    assert!(!bench.block().slot(Slot::B).bootable());
    assert_eq!(bench.boot(), Slot::A);
}

#[test]
fn a_slot_that_cannot_be_read_back_is_written_once_more_and_then_given_up() {
    let mut bench = Bench::new();
    bench.release(2);
    let faults = evil(&mut bench);
    faults.mute.store(true, Ordering::Relaxed);
    let Pass::Failed(failed) = bench.pass().unwrap() else {
        panic!()
    };
    assert_eq!(failed.error, Some(ErrorCode::Storage));
    assert!(!bench.block().slot(Slot::B).bootable());
    // The next build is looked at, and taken.
    faults.mute.store(false, Ordering::Relaxed);
    bench.release(3);
    bench.update();
    assert!(bench.holds(Slot::B, 3));
}

#[test]
fn a_device_that_cannot_read_what_it_runs_takes_the_full_payload() {
    let mut full = 0;
    // From one that cannot even say what it runs to one that fails in the middle of the delta.
    for opened in 0..6 {
        let mut bench = Bench::new();
        bench.release(2);
        bench.update();
        bench.release(3);
        let faults = evil(&mut bench);
        faults.worn.store(opened, Ordering::Relaxed);
        bench.payloads();
        assert_eq!(bench.pass().unwrap(), Pass::Rebooting, "after {opened} reads");
        assert!(bench.holds(Slot::A, 3));
        full += usize::from(bench.payloads().iter().any(|(file, _)| file == "V3.payload"));
    }
    assert!(full > 2, "{full}");
}

#[test]
fn a_slot_that_cannot_be_written_is_named_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.release(2);
    let faults = evil(&mut bench);
    faults.room.store(100_000, Ordering::Relaxed);
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("partition system of the other slot")
            || error.contains("partition boot of the other slot"),
        "{error}"
    );
    assert!(!bench.block().slot(Slot::B).bootable());
    assert!(bench.journal().failed.is_none());
    faults.room.store(u64::MAX, Ordering::Relaxed);
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}

#[test]
fn a_full_state_directory_is_named_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    bench.release(2);
    let journal = fs::read(bench.path("state/journal.json")).unwrap();
    // What the agent writes beside the journal goes to a device that is always full.
    symlink("/dev/full", bench.path("state/journal.json.new")).unwrap();
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("journal.json") && error.contains("No space left"),
        "{error}"
    );
    assert_eq!(fs::read(bench.path("state/journal.json")).unwrap(), journal);
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}
