use millet_protocol::Slot;
use millet_protocol::api::{Ballots, FeedbackList, RolloutStatus};
use millet_protocol::{Outcome, PayloadKind};
use millet_test_images::fleet::run;

use crate::world::{CHANNEL, MODEL, World, build};

#[test]
fn a_build_travels_from_image_to_confirmed_boot_and_comes_back_as_feedback() {
    let world = World::new();
    let device = &world.device;
    run(&mut device.agent(&["privacy", "on", "reports"]), false)
        .unwrap()
        .success("privacy")
        .unwrap();
    world.release(1);
    assert_eq!(world.update_to(1), PayloadKind::Full);
    world.release(2);
    assert_eq!(world.update_to(2), PayloadKind::Delta);

    run(
        &mut device.agent(&["feedback", "The clock jumps.", "--yes"]),
        false,
    )
    .unwrap()
    .success("feedback")
    .unwrap();
    run(&mut device.agent(&["vote", "night-mode", "--yes"]), false)
        .unwrap()
        .success("vote")
        .unwrap();
    // A second ballot of the same device replaces the first.
    run(&mut device.agent(&["vote", "night-mode", "--yes"]), false)
        .unwrap()
        .success("vote")
        .unwrap();

    let about = format!("/api/v1/models/{MODEL}/builds/{}", build(2));
    let feedback: FeedbackList = serde_json::from_str(&read(&world, &format!("{about}/feedback"))).unwrap();
    assert_eq!(feedback.feedback[0].text, "The clock jumps.");
    let ballots: Ballots = serde_json::from_str(&read(&world, &format!("{about}/ballots"))).unwrap();
    assert_eq!(ballots.ballots.len(), 1);
    assert_eq!(ballots.tally[&"night-mode".parse().unwrap()], 1);
    let rollout = format!("/api/v1/models/{MODEL}/channels/{CHANNEL}/rollout");
    let rollout: RolloutStatus = serde_json::from_str(&read(&world, &rollout)).unwrap();
    assert_eq!(rollout.outcomes.get(&Outcome::Confirmed), Some(&1));
    let page = read(&world, "/");
    for text in ["Night mode", "The clock jumps.", &build(2)] {
        assert!(page.contains(text), "the page lacks {text}");
    }
}

#[test]
fn a_build_that_fails_its_health_check_is_rolled_back_and_not_tried_again() {
    let world = World::new();
    world.release(1);
    world.update_to(1);
    let broken = world.folder.path().join("broken");
    run(
        world
            .programs
            .test_images()
            .arg("break")
            .arg(world.images(2))
            .arg("--out")
            .arg(&broken),
        false,
    )
    .unwrap()
    .success("break")
    .unwrap();
    world
        .workshop
        .publish(&crate::world::weekly("V6.11.2", &broken))
        .unwrap();
    world.workshop.roll_out(MODEL, CHANNEL, "V6.11.2").unwrap();

    assert_eq!(world.device.run_once(false).unwrap().status.code(), Some(11));
    assert_eq!(world.device.boot().unwrap(), Slot::A);
    assert_eq!(
        world.device.run_once(false).unwrap().status.code(),
        Some(11),
        "unhealthy: back at once"
    );
    assert_eq!(world.device.boot().unwrap(), Slot::B);
    world.assert_slot_holds(Slot::B, 1);
    for _ in 0..2 {
        assert_eq!(
            world.device.run_once(false).unwrap().status.code(),
            Some(0),
            "it is not tried again"
        );
    }
    world.release(3);
    world.update_to(3);
}

fn read(world: &World, path: &str) -> String {
    ureq::get(format!("{}{path}", world.server.url()))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap()
}
