//! Questions whose answers must not be seen.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::keys::Secret;

/// The terminal on stdin.
#[derive(Default)]
pub struct Terminal {
    /// Its settings before the echo was turned off, as long as it is.
    before: Mutex<Option<Termios>>,
}

/// Longest answer, in bytes.
const LONGEST: usize = 1024;

impl Terminal {
    /// Asks without echo; `None` when nobody is there to ask, which is when stdin is not a terminal.
    ///
    /// # Errors
    /// When the terminal fails, ends before a line does, or the line is not UTF-8 or longer than 1024 bytes.
    pub fn ask(&self, question: &str) -> io::Result<Option<Secret>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(stdin.as_fd())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // The end of the line is shown, and what was typed too early is not taken for the answer.
        quiet.local_modes.insert(LocalModes::ECHONL);
        *self.lock() = Some(before);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &quiet)?;
        let _ = write!(io::stderr(), "{question} ");
        let line = read_line(stdin.as_fd());
        self.restore();
        line.map(|line| Some(Secret::new(line)))
    }

    /// Turns the echo on again, also when the run is interrupted in the middle of a question.
    pub fn restore(&self) {
        if let Some(before) = self.lock().take() {
            let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &before);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Termios>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line without its end. It passes no buffer that outlives it: `std`'s for stdin is never wiped.
pub fn read_line(from: impl AsFd) -> io::Result<Zeroizing<String>> {
    // Never grows, so no copy stays behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&from, byte.as_mut_slice()))? {
            0 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => break,
            _ if byte[0] == b'\n' => break,
            _ if line.len() == LONGEST => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a line is longer than {LONGEST} bytes"),
                ));
            }
            _ => line.push(byte[0]),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match std::str::from_utf8(&line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is not UTF-8")),
    }
}
