//! What a person at the device sees: the program itself, on the bench's device.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use millet_agent::reports::Privacy;
use millet_protocol::{RolloutState, Slot};

use crate::bench::{BLOCKS, Bench};
use crate::repository::{Repository, name, sick};

/// A bench of today: the program asks the real clock.
#[expect(clippy::disallowed_methods, reason = "the program's clock is the real one")]
fn bench() -> Bench {
    Bench::of(Repository::new(Timestamp::now()), BLOCKS)
}

/// How a command ended and what it said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A command with the bench's configuration, in which every `(old, new)` is replaced; started from `/`.
fn command(bench: &Bench, changes: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut text = bench.config_text();
    for (old, new) in changes {
        assert!(text.contains(old), "{old} in {text}");
        text = text.replace(old, new);
    }
    let config = bench.path("agent.toml");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millet-agent"));
    command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

fn changed(bench: &Bench, changes: &[(&str, &str)], arguments: &[&str]) -> Said {
    let output = command(bench, changes, arguments).output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn said(bench: &Bench, arguments: &[&str]) -> Said {
    changed(bench, &[], arguments)
}

/// The line of the configuration that begins so.
fn line(bench: &Bench, setting: &str) -> String {
    let text = bench.config_text();
    let line = text.lines().find(|line| line.starts_with(setting)).unwrap();
    line.to_owned()
}

#[test]
fn privacy_off_without_fields_turns_everything_off() {
    let bench = bench();
    let choice = || Privacy::read(&bench.device().state).unwrap();
    assert_eq!(said(&bench, &["privacy", "on", "reports", "from"]).code, Some(0));
    assert_eq!(said(&bench, &["privacy", "off", "from"]).code, Some(0));
    assert!(choice().reports && !choice().from);
    let off = said(&bench, &["privacy", "off"]);
    assert_eq!(off.code, Some(0), "{}", off.err);
    assert_eq!(choice(), Privacy::default());
    assert_eq!(
        said(&bench, &["privacy", "on"]).code,
        Some(2),
        "what, it must say"
    );
}

#[test]
fn a_reader_that_has_gone_away_has_heard_enough() {
    let mut bench = bench();
    bench.release(2);
    let deaf = |arguments: &[&str]| {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = command(&bench, &[], arguments);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        command.status().unwrap().code()
    };
    for (arguments, code) in [
        (&["status"] as &[&str], 0),
        (&["status", "--json"], 0),
        (&["why"], 0),
        (&["check"], 10),
        (&["check", "--json"], 10),
        (&["privacy"], 0),
        (&["privacy", "ledger"], 0),
        (&["vote", "lava", "--yes"], 1),
        (&["feedback", "Good.", "--build", "V1", "--yes"], 0),
        (&["install", "--now"], 11),
        (&["--help"], 0),
    ] {
        assert_eq!(deaf(arguments), Some(code), "{arguments:?}");
    }
}

#[test]
fn words_from_outside_do_not_move_the_cursor() {
    let mut bench = bench();
    bench.release(2);
    bench.repository.offer(&bench.server, 2, |rollout| {
        rollout.state = RolloutState::Paused;
        rollout.reason = Some("\u{1b}[99A\u{9b}2J\u{202e}V9 is here".to_owned());
    });
    bench.repository.publish(&bench.server);
    for arguments in [
        &["check"] as &[&str],
        &["check", "--json"],
        &["why"],
        &["run", "--once"],
    ] {
        let said = said(&bench, arguments);
        assert!(said.out.contains("V9 is here"), "{arguments:?}: {}", said.out);
        for sign in ['\u{1b}', '\u{9b}', '\u{202e}'] {
            assert!(
                !said.out.contains(sign) && !said.err.contains(sign),
                "{arguments:?} lets {sign:?} through"
            );
        }
    }
}

#[test]
fn what_is_shown_before_it_is_sent_is_what_is_sent() {
    let bench = bench();
    let words = "up\u{202e}side \u{9b}2J";
    let said = said(&bench, &["feedback", words, "--build", "V1", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        !said.err.contains('\u{202e}') && !said.err.contains('\u{9b}'),
        "{}",
        said.err
    );
    let posts = bench.server.asked();
    let sent = posts.iter().find(|asked| asked.method == "POST").unwrap();
    assert!(said.err.lines().any(|line| line == sent.body), "{}", said.err);
    let signed: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
    let body: serde_json::Value = serde_json::from_str(signed["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["text"], words);
}

#[test]
fn nobody_at_the_terminal_agrees_to_nothing() {
    let bench = bench();
    let said = said(&bench, &["feedback", "Good.", "--build", "V1"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("Nobody is there to ask"), "{}", said.err);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert!(bench.server.asked().iter().all(|asked| asked.method != "POST"));
}

#[test]
fn commands_run_in_the_configurations_folder() {
    let mut bench = bench();
    bench.release(2);
    // A link, because a script that was written a moment ago may be busy still.
    symlink("/usr/bin/test", bench.path("check")).unwrap();
    fs::write(bench.path("flag"), "").unwrap();
    let (checks, reboot) = (line(&bench, "checks"), line(&bench, "reboot"));
    let changes = [
        (checks.as_str(), r#"checks = [["./check", "-e", "flag"]]"#),
        (reboot.as_str(), r#"reboot = ["touch", "rebooted"]"#),
    ];
    let installed = changed(&bench, &changes, &["run", "--once"]);
    assert_eq!(installed.code, Some(11), "{}", installed.err);
    assert!(bench.path("rebooted").exists());
    assert_eq!(bench.boot(), Slot::B);
    let confirmed = changed(&bench, &changes, &["run", "--once"]);
    assert_eq!(confirmed.code, Some(0), "{}", confirmed.err);
    assert!(bench.block().slot(Slot::B).successful);
}

#[test]
fn a_program_that_is_not_there_is_found_out_before_anything_is_written() {
    let mut bench = bench();
    bench.release(2);
    let (checks, reboot) = (line(&bench, "checks"), line(&bench, "reboot"));
    fs::write(bench.path("readme"), "no program").unwrap();
    let before = (
        fs::read(bench.path("misc")).unwrap(),
        fs::read(bench.path("system_b")).unwrap(),
    );
    for (old, new, setting) in [
        (&checks, r#"checks = [["true"], ["./nowhere"]]"#, "health.checks"),
        (&checks, r#"checks = [["./readme"]]"#, "health.checks"),
        (&reboot, r#"reboot = ["no-such-reboot"]"#, "boot.reboot"),
        (&reboot, r#"reboot = ["/nowhere/reboot"]"#, "boot.reboot"),
    ] {
        for arguments in [
            &["check"] as &[&str],
            &["run", "--once"],
            &["install", "--now"],
            &["rollback"],
        ] {
            let said = changed(&bench, &[(old, new)], arguments);
            assert_eq!(said.code, Some(1), "{new} {arguments:?}: {}", said.out);
            assert!(said.err.contains(setting), "{new} {arguments:?}: {}", said.err);
        }
    }
    assert!(bench.payloads().is_empty());
    let after = (
        fs::read(bench.path("misc")).unwrap(),
        fs::read(bench.path("system_b")).unwrap(),
    );
    assert_eq!(before, after);
}

#[test]
fn a_build_without_the_check_program_is_left_again() {
    let mut bench = bench();
    bench.release(2);
    symlink("/usr/bin/true", bench.path("check")).unwrap();
    let checks = line(&bench, "checks");
    let changes = [(checks.as_str(), r#"checks = [["./check"]]"#)];
    assert_eq!(changed(&bench, &changes, &["run", "--once"]).code, Some(11));
    assert_eq!(bench.boot(), Slot::B);
    // It came with the old system, and the new one has none.
    fs::remove_file(bench.path("check")).unwrap();
    let left = changed(&bench, &changes, &["run", "--once"]);
    assert_eq!(left.code, Some(11), "{}", left.err);
    assert_eq!(bench.boot(), Slot::A);
}

#[test]
fn a_build_that_cannot_reboot_is_not_confirmed() {
    let mut bench = bench();
    bench.release(2);
    let reboot = bench.path("reboot");
    symlink("/usr/bin/touch", &reboot).unwrap();
    let before = line(&bench, "reboot");
    let after = format!(r#"reboot = ["./reboot", "{}"]"#, bench.path("rebooted").display());
    let changes = [(before.as_str(), after.as_str())];
    assert_eq!(changed(&bench, &changes, &["run", "--once"]).code, Some(11));
    assert_eq!(bench.boot(), Slot::B);
    fs::remove_file(&reboot).unwrap();
    let left = changed(&bench, &changes, &["run", "--once"]);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("boot.reboot"), "{}", left.err);
    // By hand, since nothing else can.
    assert_eq!(bench.boot(), Slot::A);
}

#[test]
fn a_model_that_the_repository_does_not_have_is_named() {
    let bench = bench();
    let typo = [("model = \"rubik\"", "model = \"rubic\"")];
    for arguments in [
        &["check"] as &[&str],
        &["run", "--once"],
        &["install", "--now"],
        &["why"],
    ] {
        let said = changed(&bench, &typo, arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {}", said.out);
        assert!(
            said.err.contains("has no model rubic; it has: rubik"),
            "{arguments:?}: {}",
            said.err
        );
    }
}

#[test]
fn status_says_what_is_true_in_this_boot() {
    let mut bench = bench();
    bench.release(2);
    let status = |bench: &Bench| said(bench, &["status"]);
    assert_eq!(said(&bench, &["run", "--once"]).code, Some(11));
    let staged = status(&bench);
    assert!(
        staged.out.contains("V2 is in slot b and boots next"),
        "{}",
        staged.out
    );
    assert_eq!(staged.code, Some(11));

    assert_eq!(bench.boot(), Slot::B);
    let trial = status(&bench);
    assert!(trial.out.contains("V2 is on trial in slot b"), "{}", trial.out);
    assert!(trial.out.contains("V2 in slot b\n"), "{}", trial.out);
    assert_eq!(trial.code, Some(0), "{}", trial.out);
    assert_eq!(said(&bench, &["run", "--once"]).code, Some(0));
    let confirmed = status(&bench);
    assert!(!confirmed.out.contains("trial"), "{}", confirmed.out);

    bench.repository.build(&bench.server, 3, sick(3, BLOCKS), |_| ());
    bench.repository.offer(&bench.server, 3, |_| ());
    bench.repository.publish(&bench.server);
    assert_eq!(said(&bench, &["run", "--once"]).code, Some(11));
    assert_eq!(bench.boot(), Slot::A);
    assert_eq!(said(&bench, &["run", "--once"]).code, Some(11));
    let bad = status(&bench);
    assert!(
        bad.out.contains("V3 in slot a is not well") && bad.out.contains("slot b boots next"),
        "{}",
        bad.out
    );
    assert_eq!(bad.code, Some(11));

    assert_eq!(bench.boot(), Slot::B);
    let back = status(&bench);
    assert!(!back.out.contains("boots next"), "{}", back.out);
    assert!(back.out.contains("V3 is not taken again"), "{}", back.out);
    assert_eq!(back.code, Some(0), "{}", back.out);
}

#[test]
fn what_is_staged_already_is_not_offered_again() {
    let mut bench = bench();
    bench.release(2);
    assert_eq!(said(&bench, &["run", "--once"]).code, Some(11));
    for (arguments, code) in [(&["why"] as &[&str], 0), (&["check"], 11)] {
        let said = said(&bench, arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}");
        assert!(
            said.out.contains("V2 is in slot b and boots next"),
            "{arguments:?}: {}",
            said.out
        );
        assert!(!said.out.contains("install"), "{arguments:?}: {}", said.out);
    }
    bench.repository.offer(&bench.server, 2, |rollout| {
        rollout.state = RolloutState::Halted;
        rollout.reason = Some("it is too warm".to_owned());
    });
    bench.repository.publish(&bench.server);
    let halted = said(&bench, &["why"]);
    assert!(halted.out.contains("it is too warm"), "{}", halted.out);
    let json = said(&bench, &["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["update"]["build"], name(2).as_str());
    assert_eq!(json["update"]["stage"], "rebooting");
}
