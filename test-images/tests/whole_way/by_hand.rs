use std::fs;
use std::process::Command;

use millet_test_images::fleet::{Finished, run};

use crate::world::World;

const MANUAL: &str = include_str!("../../../docs/device.md");

/// docs/device.md, "Try it without a device", word by word, but for the server's address and where the programs lie.
#[test]
fn the_manuals_device_takes_a_build() {
    let world = World::new();
    world.release(1);
    let folder = world.folder.path().join("by-hand");
    fs::create_dir(&folder).unwrap();
    let (_, section) = MANUAL.split_once("## Try it without a device").unwrap();
    let (before, after) = section.split_once("```toml\n").unwrap();
    let (config, after) = after.split_once("```").unwrap();

    let programs = world.programs.agent.parent().unwrap();
    let do_line = |line: &str| -> Finished {
        let words = line.split_once(" #").map_or(line, |(words, _)| words);
        let mut words = words.split_whitespace();
        let mut command = Command::new(programs.join(words.next().unwrap()));
        command.args(words).current_dir(&folder).env("PATH", {
            let mut path = programs.as_os_str().to_owned();
            path.push(":/bin:/usr/bin");
            path
        });
        run(&mut command, false).unwrap()
    };
    let mut codes = Vec::new();
    let mut follow = |text: &str| {
        let (_, block) = text.split_once("```console\n$ ").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        for step in block.split("\n$ ") {
            let (line, printed) = step.trim_end().split_once('\n').unwrap_or((step, ""));
            let ended = do_line(line);
            codes.push(ended.status.code());
            assert!(ended.stdout.starts_with(printed), "{line}: {ended:?}");
        }
    };
    follow(before);
    fs::copy(world.workshop.first_root(), folder.join("device/root.json")).unwrap();
    let config = config.replace("http://127.0.0.1:8080", &world.server.url());
    fs::write(folder.join("device/agent.toml"), config).unwrap();
    follow(after);
    assert_eq!(
        codes,
        [0, 0, 0, 0, 0, 11, 0, 0, 0].map(Some),
        "five commands make the device; the agent asks for a reboot, is booted, and confirms"
    );
}
