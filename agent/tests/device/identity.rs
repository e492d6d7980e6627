use std::fs;

use jiff::SignedDuration;
use millet_agent::Pass;
use millet_machine::bootloader_control::BootloaderControl;
use millet_protocol::{Requires, Sequence, Slot};

use crate::bench::{BLOCKS, Bench};
use crate::repository::{images, name};

#[test]
fn a_wiped_state_finds_its_way_by_hashes() {
    let mut bench = Bench::new();
    bench.release(2);
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |manifest| {
            manifest.floor = Some(Sequence(2));
            manifest.data_epoch = 3;
        });
    bench.repository.publish(&bench.server);
    bench.update();
    fs::remove_dir_all(bench.path("state")).unwrap();
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(_)));
    assert_eq!(bench.journal().slot(Slot::B).unwrap().build, name(2));
    let kept = bench.device().state.kept().unwrap();
    assert_eq!((kept.sequence, kept.data_epoch), (Some(Sequence(2)), Some(3)));
    bench.payloads();
    bench
        .repository
        .build(&bench.server, 3, images(3, BLOCKS), |manifest| {
            manifest.data_epoch = 3;
        });
    bench.repository.delta(&bench.server, 2, 3, None);
    bench.repository.offer(&bench.server, 3, |_| ());
    bench.repository.publish(&bench.server);
    bench.update();
    assert!(bench.payloads().iter().all(|(file, _)| file == "V2-V3.payload"));
}

#[test]
fn a_device_flashed_by_hand_finds_its_way() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.update();
    // Somebody flashes week 1 over the running slot, with a bootloader that knows nothing of it.
    bench.flash(Slot::B, &images(1, BLOCKS));
    bench.set_block(&BootloaderControl::new(Slot::B));
    bench.release(3);
    bench.update();
    assert!(bench.holds(Slot::A, 3));
}

#[test]
fn an_unknown_image_takes_the_full_payload() {
    let mut bench = Bench::new();
    bench.release(2);
    // A root that was mounted read-write once.
    let mut system = fs::read(bench.path("system_a")).unwrap();
    system[9000] ^= 1;
    fs::write(bench.path("system_a"), system).unwrap();
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    assert!(bench.payloads().iter().all(|(file, _)| file == "V2.payload"));
}

#[test]
fn a_source_that_changes_behind_the_agents_back_is_noticed_before_the_download() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    bench.release(2);
    bench.run(async {
        let mut agent = bench.agent().unwrap();
        agent.pass(false).await.unwrap();
    });
    assert!(bench.holds(Slot::B, 2));
    let mut bench = Bench::new();
    bench.release(2);
    let agent = bench.agent().unwrap();
    drop(agent);
    let mut boot = fs::read(bench.path("boot_a")).unwrap();
    boot[0] ^= 1;
    fs::write(bench.path("boot_a"), boot).unwrap();
    bench.update();
    assert!(bench.holds(Slot::B, 2));
}

#[test]
fn six_weeks_away() {
    let mut bench = Bench::new();
    bench.pass().unwrap();
    for week in 2..8 {
        bench.repository.now += SignedDuration::from_hours(7 * 24);
        bench.release(week);
    }
    bench.edge.advance(SignedDuration::from_hours(6 * 7 * 24));
    bench.payloads();
    bench.update();
    assert!(bench.holds(Slot::B, 7));
    assert!(bench.payloads().iter().all(|(file, _)| file == "V7.payload"));
}

#[test]
fn too_far_behind_goes_over_a_stepping_stone() {
    let mut bench = Bench::new();
    bench
        .repository
        .build(&bench.server, 2, images(2, BLOCKS), |_| ());
    bench
        .repository
        .build(&bench.server, 3, images(3, BLOCKS), |manifest| {
            manifest.requires = Some(Requires {
                min_sequence: Sequence(2),
            });
        });
    bench
        .repository
        .offer(&bench.server, 3, |rollout| rollout.stones = vec![name(2)]);
    bench.repository.publish(&bench.server);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::B);
    assert!(bench.holds(Slot::B, 2));
    // Confirmed, and on to the next in the same pass.
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::A);
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(_)));
    assert!(bench.holds(Slot::A, 3));
}

#[test]
fn a_damaged_boot_control_is_made_anew_before_anything_else() {
    let mut bench = Bench::new();
    bench.release(2);
    let mut misc = fs::read(bench.path("misc")).unwrap();
    misc[2050] ^= 0xff;
    fs::write(bench.path("misc"), misc).unwrap();
    bench.update();
    assert!(bench.holds(Slot::B, 2));
    assert!(
        bench.block().slot(Slot::A).successful,
        "it was healthy, so it is the way back"
    );
}
