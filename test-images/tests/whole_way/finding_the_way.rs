use std::fs;

use millet_protocol::{PayloadKind, Slot};

use crate::world::{World, build};

#[test]
fn a_device_whose_state_was_wiped_knows_its_build_by_its_bytes_and_takes_the_delta() {
    let world = World::new();
    world.release(1);
    world.update_to(1);
    fs::remove_dir_all(world.device.folder().join("state")).unwrap();
    // Nothing new is on offer: it must find out what it runs, and not install the same build again.
    assert_eq!(world.device.run_once(false).unwrap().status.code(), Some(0));
    assert_eq!(world.status()["running"], build(1));
    world.release(2);
    assert_eq!(world.update_to(2), PayloadKind::Delta);
}

#[test]
fn a_device_flashed_by_hand_is_what_its_bytes_say_and_goes_on_from_there() {
    let world = World::new();
    world.release(1);
    world.update_to(1);
    world.release(2);
    // Week 2 is written to the other slot with a cable, past the agent and its journal.
    world.device.flash(Slot::A, &world.images(2)).unwrap();
    assert_eq!(world.device.boot().unwrap(), Slot::A);
    assert_eq!(world.device.run_once(false).unwrap().status.code(), Some(0));
    assert_eq!(world.status()["running"], build(2));
    world.release(3);
    assert_eq!(world.update_to(3), PayloadKind::Delta);
}

#[test]
fn a_device_flashed_with_an_image_nobody_signed_takes_the_full_payload() {
    let world = World::new();
    world.release(1);
    world.update_to(1);
    world.device.flash(Slot::A, &world.images(0)).unwrap();
    assert_eq!(world.device.boot().unwrap(), Slot::A);
    world.release(2);
    assert_eq!(world.update_to(2), PayloadKind::Full);
}

#[test]
fn a_device_that_missed_six_weeks_goes_straight_to_the_newest() {
    let world = World::new();
    world.release(1);
    world.update_to(1);
    for week in 2..=6 {
        world.publish(week);
    }
    world.release(7);
    assert_eq!(
        world.update_to(7),
        PayloadKind::Full,
        "no delta leads over six weeks"
    );
}
