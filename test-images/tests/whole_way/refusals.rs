use std::fs;
use std::process::Command;
use std::time::Duration;

use millet_test_images::fleet::run;

use crate::world::{CHANNEL, MODEL, World, build, weekly};

#[test]
fn a_release_engineer_hears_what_is_wrong_and_nothing_is_published() {
    let world = World::new();
    world.publish(1);

    let (name, images) = (build(1), world.images(2));
    let said = refused(
        &world,
        &[
            "publish",
            "--model",
            MODEL,
            "--build",
            &name,
            "--channel",
            CHANNEL,
        ],
        &images,
    );
    assert!(said.contains(&name), "a name published twice: {said}");

    let name = build(2);
    let low = [
        "publish",
        "--model",
        MODEL,
        "--build",
        &name,
        "--channel",
        CHANNEL,
        "--sequence",
        "197001001",
    ];
    let said = refused(&world, &low, &images);
    assert!(
        said.contains("197001001"),
        "a sequence that does not grow: {said}"
    );

    let odd = world.folder.path().join("odd");
    copy(&images, &odd);
    fs::OpenOptions::new()
        .append(true)
        .open(odd.join("boot.img"))
        .unwrap()
        .set_len(8_193)
        .unwrap();
    let said = refused(
        &world,
        &[
            "publish",
            "--model",
            MODEL,
            "--build",
            &name,
            "--channel",
            CHANNEL,
        ],
        &odd,
    );
    assert!(
        said.contains("boot.img") && said.contains("4096") && said.contains("8193"),
        "{said}"
    );

    let unknown = world.folder.path().join("unknown");
    copy(&images, &unknown);
    fs::write(unknown.join("userdata.img"), vec![0; 4096]).unwrap();
    let said = refused(
        &world,
        &[
            "publish",
            "--model",
            MODEL,
            "--build",
            &name,
            "--channel",
            CHANNEL,
        ],
        &unknown,
    );
    assert!(
        said.contains("userdata"),
        "a partition that no build may hold: {said}"
    );

    let listed = ureq::get(format!("{}/api/v1/models/{MODEL}/builds", world.server.url()))
        .call()
        .unwrap();
    let listed: millet_protocol::api::Builds = listed.into_body().read_json().unwrap();
    assert_eq!(listed.builds.len(), 1, "only the first build is there");
}

#[test]
fn a_stolen_name_is_not_enough_without_the_key() {
    let world = World::new();
    world.publish(1);
    let workshop = world.folder.path().join("workshop");
    // Another key under the right file name.
    for file in ["builds1.key", "builds1.pub"] {
        fs::remove_file(workshop.join("keys").join(file)).unwrap();
    }
    world
        .workshop
        .millet(&["key", "new", "builds1", "--out", "keys", "--no-passphrase"])
        .unwrap();
    let (name, images) = (build(2), world.images(2));
    let ended = run(
        &mut world.workshop.publish_command(&weekly(&name, &images)),
        false,
    )
    .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("not the keys that the repository trusts"),
        "{}",
        ended.stderr
    );
}

#[test]
fn two_agents_on_one_state_directory_do_not_meet() {
    let world = World::new();
    world.release(1);
    let mut first = world.device.start_once(false).unwrap();
    while world.device.phase().is_empty() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The second one waits for the lock for a moment, in which the first must not get ready.
    let signal = |name: &str| {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {}", first.id())]);
        run(&mut kill, false).unwrap().success("kill").unwrap();
    };
    signal("STOP");
    let second = run(&mut world.device.agent(&["run", "--once"]), false).unwrap();
    signal("CONT");
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("state"), "{}", second.stderr);
    assert!(
        world.device.reboot_requested(),
        "the first agent's work was not disturbed"
    );
}

#[test]
fn an_unreadable_configuration_names_line_and_column() {
    let world = World::new();
    let config = world.device.config();
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("channel = \"beta\"", "channel = beta")).unwrap();
    let ended = run(&mut world.device.agent(&["status"]), false).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("agent.toml:2:11"), "{}", ended.stderr);
}

fn refused(world: &World, arguments: &[&str], images: &std::path::Path) -> String {
    let ended = run(
        world.workshop.command(arguments).arg("--images").arg(images),
        false,
    )
    .unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    ended.stderr
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
