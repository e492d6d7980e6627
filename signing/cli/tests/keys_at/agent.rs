//! gpg-agent, played by the test: what is asked of it, and what odd answers do.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};

use crate::fake::{Finished, Workshop};
use crate::{PUBLISH, public, with_encrypted_builds_key};

/// Answers each GET_PASSPHRASE with the next of `answers`, every other request with OK, and tells all requests.
fn agent(workshop: &Workshop, answers: &[&str]) -> Receiver<String> {
    let socket = workshop.path("a socket");
    let listener = UnixListener::bind(&socket).unwrap();
    // A stand-in for gpgconf, which escapes what it lists.
    let listed = socket.to_str().unwrap().replace(' ', "%20");
    workshop.write("bin/gpgconf", format!("#!/bin/sh\necho '{listed}'\n").as_bytes());
    fs::set_permissions(workshop.path("bin/gpgconf"), fs::Permissions::from_mode(0o755)).unwrap();
    workshop.change_config("token =", "passphrase_agent = \"gpg\"\ntoken =");
    let mut answers: Vec<_> = answers.iter().rev().map(|answer| (*answer).to_owned()).collect();
    let (told, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: UnixStream = stream.unwrap();
            stream.write_all(b"OK Pleased to meet you\n").unwrap();
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let Ok(line) = line else { break };
                let answer = match line.starts_with("GET_PASSPHRASE") {
                    true => answers.pop().unwrap(),
                    false => "OK\n".to_owned(),
                };
                let _ = told.send(line);
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    requests
}

fn publish(workshop: &Workshop) -> Finished {
    let path = format!("{}:/usr/bin:/bin", workshop.path("bin").display());
    let output = workshop.command(&PUBLISH).env("PATH", path).output().unwrap();
    Finished::of(&output)
}

#[test]
fn a_wrong_passphrase_is_forgotten_and_asked_for_again() {
    let (_server, workshop) = with_encrypted_builds_key();
    let requests = agent(
        &workshop,
        &[
            "# a comment\nS PROGRESS x\nD wrong\nOK\n",
            "D friday\nD %20even\nD ing\nOK\n",
        ],
    );
    publish(&workshop).ok();
    let requests: Vec<_> = requests
        .try_iter()
        .filter(|line| !line.starts_with("OPTION"))
        .collect();
    let id = public(&workshop, "builds1").id();
    let cache = format!("millet:{}", &id.as_str()[..40]);
    let description = format!(
        "Millet+needs+the+passphrase+of+the+key+keys/builds1.key+({})",
        id.short()
    );
    assert_eq!(
        requests,
        [
            format!("GET_PASSPHRASE --data {cache} X Passphrase: {description}"),
            format!("CLEAR_PASSPHRASE {cache}"),
            format!("GET_PASSPHRASE --data {cache} That+is+not+it Passphrase: {description}"),
        ]
    );
}

#[test]
fn odd_answers_end_the_run() {
    let long = format!("D {}\nOK\n", "x".repeat(1100));
    let endless = "S progress\n".repeat(200);
    let (_server, workshop) = with_encrypted_builds_key();
    let _requests = agent(
        &workshop,
        &[
            "ERR 83886179 Operation cancelled <Pinentry>\n",
            "ERR 67109139 Unknown IPC command <GPG Agent>\n",
            &long,
            &endless,
            "INQUIRE PINENTRY_LAUNCHED\n",
            "D %f\nOK\n",
            "D %ff\nOK\n",
            "nonsense\n",
        ],
    );
    for words in [
        "cancelled",
        "gpg-agent refuses: Unknown IPC command",
        "a line is too long",
        "it does not end",
        "it asks back",
        "a broken escape",
        "not UTF-8",
        "an unknown line",
    ] {
        publish(&workshop).refused(&[words]);
    }
}

#[test]
fn a_file_descriptor_comes_before_the_agent_and_a_missing_agent_is_named() {
    let (_server, workshop) = with_encrypted_builds_key();
    let requests = agent(&workshop, &[]);
    workshop.with_passphrases("friday evening\n", &PUBLISH).ok();
    assert_eq!(requests.try_iter().count(), 0);
    fs::remove_file(workshop.path("bin/gpgconf")).unwrap();
    let output = workshop
        .command(&[
            "publish",
            "--model",
            "rubik",
            "--images",
            "images",
            "--channel",
            "beta",
            "--build",
            "V2",
        ])
        .env("PATH", workshop.path("bin"))
        .output()
        .unwrap();
    Finished::of(&output).refused(&["gpgconf", "is GnuPG installed?"]);
}
