use std::fs;

use millet_agent::Pass;
use millet_machine::policy::Reason;
use millet_protocol::Slot;

use crate::bench::{BLOCKS, Bench};
use crate::repository::{images, name};

#[test]
fn by_full_payload_and_then_by_delta() {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    assert!(bench.payloads().iter().all(|(file, _)| file == "V2.payload"));

    bench.release(3);
    bench.update();
    assert!(bench.holds(Slot::A, 3) && bench.holds(Slot::B, 2));
    assert!(bench.payloads().iter().all(|(file, _)| file == "V2-V3.payload"));
    let journal = bench.journal();
    assert_eq!(journal.slot(Slot::A).unwrap().build, name(3));
    assert!(journal.confirmed_at(Slot::A).is_some());
    assert!(bench.block().slot(Slot::A).successful);
}

#[test]
fn a_partition_larger_than_its_image_keeps_no_old_footer() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.update();
    for partition in ["boot_b", "system_b"] {
        let bytes = fs::read(bench.path(partition)).unwrap();
        assert!(
            bytes[bytes.len() - 4096..].iter().all(|byte| *byte == 0),
            "{partition}"
        );
    }
}

#[test]
fn a_quiet_check_is_two_small_requests() {
    let bench = Bench::new();
    bench.pass().unwrap();
    bench.server.asked();
    bench.pass().unwrap();
    let asked = bench.server.asked();
    let seen: Vec<_> = asked
        .iter()
        .map(|asked| (asked.path.as_str(), asked.status))
        .collect();
    assert_eq!(
        seen,
        [
            ("/repo/metadata/2.root.json", 404),
            ("/repo/metadata/timestamp.json", 304)
        ]
    );
}

#[test]
fn what_runs_is_not_installed_again() {
    let bench = Bench::new();
    let pass = bench.pass().unwrap();
    assert!(matches!(pass, Pass::Settled(no) if no.reason == Reason::UpToDate(name(1))));
    assert!(!bench.path("rebooted").exists());
}

#[test]
fn a_partition_that_the_payload_leaves_out_is_copied() {
    let mut bench = Bench::new();
    let mut next = images(2, BLOCKS);
    next.insert("boot".to_owned(), images(1, BLOCKS)["boot"].clone());
    bench.repository.build(&bench.server, 2, next, |_| ());
    bench.repository.delta(&bench.server, 1, 2, Some("boot"));
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    assert!(bench.payloads().iter().all(|(file, _)| file == "V1-V2.payload"));
}

#[test]
fn a_partition_left_out_that_is_nowhere_makes_the_full_payload_necessary() {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench.repository.delta(&bench.server, 1, 2, Some("boot"));
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    assert!(bench.payloads().iter().any(|(file, _)| file == "V2.payload"));
}

#[test]
fn the_owner_goes_back_and_stays_there() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.update();
    let pass = bench.run(async { bench.agent()?.roll_back().await }).unwrap();
    assert_eq!(pass, Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::A);
    let pass = bench.pass().unwrap();
    assert!(matches!(pass, Pass::Settled(no) if matches!(no.reason, Reason::Failed(_))));
    assert!(bench.block().slot(Slot::A).successful);
    bench.release(3);
    bench.update();
    assert!(bench.holds(Slot::B, 3));
}

#[test]
fn no_way_back_below_the_floor_or_to_rubble() {
    let mut bench = Bench::new();
    bench.release(2);
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |manifest| {
            manifest.floor = Some(manifest.sequence);
        });
    bench.repository.publish(&bench.server);
    bench.update();
    assert!(!bench.block().slot(Slot::A).bootable(), "the floor shuts it out");
    let back = || {
        bench
            .run(async { bench.agent()?.roll_back().await })
            .unwrap_err()
            .to_string()
    };
    assert!(back().contains("below this device's floor"), "{}", back());
    fs::write(bench.path("system_a"), vec![1; BLOCKS * 4096]).unwrap();
    assert!(
        back().contains("does not hold a whole signed build"),
        "{}",
        back()
    );
}
