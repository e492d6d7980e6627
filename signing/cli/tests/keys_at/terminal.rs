//! A person at a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::fake::{Finished, Workshop};
use crate::{decrypt, encrypt};

/// A running `millet` with a terminal on stdin.
struct Session {
    child: Child,
    person: File,
    terminal: OwnedFd,
    said: String,
}

impl Session {
    fn start(workshop: &Workshop, arguments: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let person = openpt(flags).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let terminal = ioctl_tiocgptpeer(&person, flags).unwrap();
        let child = workshop
            .command(arguments)
            .stdin(terminal.try_clone().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            person: person.into(),
            terminal,
            said: String::new(),
        }
    }

    fn echo(&self) -> bool {
        let modes = tcgetattr(self.terminal.as_fd()).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    }

    /// Waits until `question` was asked.
    fn wait_for(&mut self, question: &str) {
        let mut byte = [0];
        while !self.said.ends_with(question) {
            let read = self.child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(read, 1, "{question:?} was not asked: {}", self.said);
            self.said.push(char::from(byte[0]));
        }
    }

    fn answer(&mut self, question: &str, line: &str) {
        self.wait_for(question);
        assert!(!self.echo());
        writeln!(self.person, "{line}").unwrap();
        // The same question may come again.
        self.said.push('\n');
    }

    /// How it ended, and what the terminal showed.
    fn finish(mut self) -> (Finished, String) {
        let output = self.child.wait_with_output().unwrap();
        assert!(
            tcgetattr(self.terminal.as_fd())
                .unwrap()
                .local_modes
                .contains(LocalModes::ECHO)
        );
        drop(self.terminal);
        // The other end is closed now, which Linux tells by an error behind what was shown.
        let mut shown = Vec::new();
        let _ = self.person.read_to_end(&mut shown);
        let mut finished = Finished::of(&output);
        finished.stderr.insert_str(0, &self.said);
        (finished, String::from_utf8(shown).unwrap())
    }
}

#[test]
fn a_new_passphrase_is_asked_for_twice_without_echo() {
    let workshop = Workshop::empty();
    let mut session = Session::start(&workshop, &["key", "new", "root1", "--out", "keys"]);
    session.answer("New passphrase for keys/root1.key: ", "correct horse");
    session.wait_for("The same once more: ");
    // Now it is in memory, and nowhere where other programs look.
    for file in ["cmdline", "environ"] {
        let seen = std::fs::read(format!("/proc/{}/{file}", session.child.id())).unwrap();
        assert!(
            !String::from_utf8_lossy(&seen).contains("correct horse"),
            "{file}"
        );
    }
    session.answer("The same once more: ", "correct horse");
    let (finished, shown) = session.finish();
    finished.ok();
    assert_eq!(shown, "\r\n\r\n");
    decrypt(&workshop, "root1", "correct horse");

    let mut session = Session::start(&workshop, &["key", "new", "root2"]);
    session.answer("root2.key: ", "correct horse");
    session.answer("once more: ", "correct house");
    session.finish().0.refused(&["the two passphrases differ"]);
    let mut session = Session::start(&workshop, &["key", "new", "root2"]);
    session.answer("root2.key: ", "short");
    session.finish().0.refused(&["at least 8 characters"]);
    assert!(!workshop.path("root2.key").exists());
}

#[test]
fn a_wrong_passphrase_may_be_corrected_twice() {
    let workshop = Workshop::empty();
    workshop.ok(&["key", "new", "root1", "--out", "keys", "--no-passphrase"]);
    encrypt(&workshop, "root1", "correct horse");
    let export = ["key", "export-public", "keys/root1.key"];
    let mut session = Session::start(&workshop, &export);
    session.answer("Passphrase for keys/root1.key: ", "wrong");
    session.answer("That is not it. Passphrase for keys/root1.key: ", "wrong");
    session.answer("That is not it. Passphrase for keys/root1.key: ", "correct horse");
    session.finish().0.ok();

    let mut session = Session::start(&workshop, &export);
    for _ in 0..3 {
        session.answer("Passphrase for keys/root1.key: ", "wrong");
    }
    session
        .finish()
        .0
        .refused(&["the passphrase does not open keys/root1.key"]);
}

#[test]
fn an_interrupted_question_leaves_the_echo_on() {
    let workshop = Workshop::empty();
    let mut session = Session::start(&workshop, &["key", "new", "root1"]);
    session.wait_for("root1.key: ");
    assert!(!session.echo());
    kill_process(Pid::from_child(&session.child), Signal::INT).unwrap();
    let (finished, _) = session.finish();
    assert_eq!(finished.code, 130);
}
