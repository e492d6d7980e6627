//! Where passphrases come from: never from arguments or the environment, which others can see.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::Arc;

use anyhow::{Context, bail};
use millet_signing::KeyId;
use serde::Deserialize;

use super::agent::{GpgAgent, Surroundings};
use super::secret::Secret;
use super::terminal::{Terminal, read_line};

/// A program that keeps passphrases, as millet.toml names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassphraseAgent {
    /// gpg-agent, by its own protocol.
    Gpg,
}

/// The key that a passphrase is for.
pub struct About<'a> {
    /// What people know it by, such as its file.
    pub name: &'a str,
    /// Its identifier, if that is known before it is open.
    pub id: Option<&'a KeyId>,
}

/// Asks for passphrases: a file descriptor if one was named, else the agent of millet.toml, else the terminal.
pub struct Passphrases {
    lines: Option<RefCell<Lines>>,
    terminal: Arc<Terminal>,
    surroundings: Surroundings,
}

/// How often a person may enter one passphrase.
const TRIES: u32 = 3;

impl Passphrases {
    /// With the number of `--passphrase-fd`, if there is one; nothing is read yet.
    pub fn new(descriptor: Option<u32>, terminal: Arc<Terminal>, surroundings: Surroundings) -> Self {
        Self {
            lines: descriptor.map(|number| RefCell::new(Lines::new(number))),
            terminal,
            surroundings,
        }
    }

    /// Asks for the passphrase of a key until `open` takes it. `open` returns `None` for a wrong one.
    ///
    /// # Errors
    /// When three passphrases were wrong (one, where nobody can be asked again), nobody is there to ask, the person
    /// does not want to say it, or `open` fails.
    pub fn open<T>(
        &self,
        agent: Option<PassphraseAgent>,
        about: &About<'_>,
        open: impl Fn(&Secret) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let tries = if self.lines.is_some() { 1 } else { TRIES };
        for attempt in 0..tries {
            let secret = self.ask(agent, about, attempt > 0)?;
            if let Some(opened) = open(&secret)? {
                return Ok(opened);
            }
            if let (None, Some(PassphraseAgent::Gpg)) = (&self.lines, agent) {
                GpgAgent::connect(&self.surroundings)?.forget(about)?;
            }
        }
        bail!("the passphrase does not open {}", about.name)
    }

    /// A passphrase for a new file: entered twice at the terminal, or a line of its own of the file descriptor.
    ///
    /// # Errors
    /// When it is too short, the two differ, or nobody is there to ask.
    pub fn choose(&self, name: &str) -> anyhow::Result<Secret> {
        let secret = match &self.lines {
            // Its own: a line that has opened the old file must not silently seal the new one.
            Some(lines) => lines.borrow_mut().own()?,
            None => {
                let first = self.at_terminal(&format!("New passphrase for {name}:"), NO_PASSPHRASE)?;
                // Before it is entered a second time in vain.
                first.check_new()?;
                let second = self.at_terminal("The same once more:", NO_PASSPHRASE)?;
                if first.expose() != second.expose() {
                    bail!("the two passphrases differ");
                }
                second
            }
        };
        secret.check_new()?;
        Ok(secret)
    }

    /// The PIN of a token: a line of its own of the file descriptor, or once at the terminal. No agent is asked, and no
    /// line serves twice, since a token counts wrong PINs.
    ///
    /// # Errors
    /// When there is no further line, or nobody is there to ask.
    #[cfg(feature = "pkcs11")]
    pub fn pin(&self, token: &str) -> anyhow::Result<Secret> {
        match &self.lines {
            Some(lines) => lines.borrow_mut().own(),
            None => self.at_terminal(&format!("PIN of the token {token}:"), NO_PIN),
        }
    }

    fn ask(
        &self,
        agent: Option<PassphraseAgent>,
        about: &About<'_>,
        was_wrong: bool,
    ) -> anyhow::Result<Secret> {
        match (&self.lines, agent) {
            (Some(lines), _) => lines.borrow_mut().next(),
            (None, Some(PassphraseAgent::Gpg)) => {
                Ok(GpgAgent::connect(&self.surroundings)?.passphrase(about, was_wrong)?)
            }
            (None, None) => {
                let again = if was_wrong { "That is not it. " } else { "" };
                self.at_terminal(&format!("{again}Passphrase for {}:", about.name), NOBODY)
            }
        }
    }

    fn at_terminal(&self, question: &str, otherwise: &str) -> anyhow::Result<Secret> {
        match self
            .terminal
            .ask(question)
            .context("cannot read from the terminal")?
        {
            Some(secret) => Ok(secret),
            None => bail!("{question} nobody is there to ask: {otherwise}"),
        }
    }
}

const NOBODY: &str = "give it with --passphrase-fd, or name an agent in millet.toml";
#[cfg(feature = "pkcs11")]
const NO_PIN: &str = "give it with --passphrase-fd, or name a file of mode 600 by pin-source in the URI";
const NO_PASSPHRASE: &str = "give it with --passphrase-fd, or write a plain file with --no-passphrase";

/// The lines behind a file descriptor: one for each passphrase in the order they are asked for. The last one serves
/// whatever is asked for after it.
struct Lines {
    number: u32,
    file: Option<File>,
    last: Option<Secret>,
}

impl Lines {
    fn new(number: u32) -> Self {
        Self {
            number,
            file: None,
            last: None,
        }
    }

    /// The next line, or the last one again.
    fn next(&mut self) -> anyhow::Result<Secret> {
        if let Some(line) = self.read()? {
            self.last = Some(line);
        }
        match &self.last {
            Some(last) => Ok(Secret::new(last.expose().to_owned().into())),
            None => bail!("the file descriptor {} has no line", self.number),
        }
    }

    /// The next line and no other.
    fn own(&mut self) -> anyhow::Result<Secret> {
        self.read()?
            .with_context(|| format!("the file descriptor {} has no further line", self.number))
    }

    fn read(&mut self) -> anyhow::Result<Option<Secret>> {
        let what = || format!("cannot read from the file descriptor {}", self.number);
        let file = match &mut self.file {
            Some(file) => file,
            // Opened by its name, since a number alone cannot be turned into a file without unsafe code.
            none => none.insert(File::open(format!("/dev/fd/{}", self.number)).with_context(what)?),
        };
        match read_line(&*file) {
            Ok(line) => Ok(Some(Secret::new(line))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error).with_context(what),
        }
    }
}
