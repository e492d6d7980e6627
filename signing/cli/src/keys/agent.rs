//! gpg-agent, which keeps passphrases for a while and asks for them in its own window.
//!
//! Assuan (libassuan's manual, "Client requests" and "Server responses"): lines of at most 1000 bytes, one request at a
//! time; answers are `OK`, `ERR code text`, `D data`, `S status` and `# comment`.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use millet_signing::KeyId;
use zeroize::Zeroizing;

use super::passphrase::About;
use super::percent;
use super::secret::Secret;

/// What a pinentry has to know of the person's surroundings to find them.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The terminal, such as `/dev/pts/3`.
    pub terminal: Option<String>,
    /// `TERM`.
    pub terminal_type: Option<String>,
    /// `DISPLAY`.
    pub display: Option<String>,
    /// `WAYLAND_DISPLAY`.
    pub wayland_display: Option<String>,
}

/// Why gpg-agent gave no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// `gpgconf` cannot be run or fails.
    #[error("gpgconf does not say where gpg-agent listens: is GnuPG installed?")]
    NoGpgconf(#[source] io::Error),
    /// It does not listen, or breaks off.
    #[error("gpg-agent at {} does not answer", path.display())]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It answers in a way that its protocol does not know.
    #[error("gpg-agent's answer is not of its protocol: {0}")]
    Protocol(&'static str),
    /// The person does not want to say it.
    #[error("the question for a passphrase was cancelled")]
    Cancelled,
    /// It refuses.
    #[error("gpg-agent refuses: {0}")]
    Refused(String),
}

/// A connection to gpg-agent.
pub struct GpgAgent {
    path: PathBuf,
    stream: UnixStream,
}

/// Longest line, in bytes (libassuan: `ASSUAN_LINELENGTH`, with the end of the line).
const LONGEST_LINE: usize = 1002;

/// Most lines of one answer.
const MOST_LINES: u32 = 100;

/// Longest passphrase, in bytes; gpg-agent's own limit is 255.
const LONGEST_PASSPHRASE: usize = 1024;

/// How long a person may think. The pinentry's own limit is shorter, if it has one.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// libgpg-error: the low 16 bits of a code, of which these say that a person did not want to.
const CODE: u32 = 0xffff;
const CANCELED: u32 = 99;
const FULLY_CANCELED: u32 = 198;

impl GpgAgent {
    /// Connects to the person's agent, which is started if it does not run.
    pub fn connect(surroundings: &Surroundings) -> Result<Self, AgentError> {
        let path = socket()?;
        let stream = UnixStream::connect(&path).or_else(|_| {
            gpgconf(&["--launch", "gpg-agent"])?;
            UnixStream::connect(&path).map_err(|source| AgentError::Unreachable {
                path: path.clone(),
                source,
            })
        })?;
        let mut agent = Self { path, stream };
        agent
            .stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(|source| agent.unreachable(source))?;
        agent.answer()?;
        let options = [
            ("ttyname", &surroundings.terminal),
            ("ttytype", &surroundings.terminal_type),
            ("display", &surroundings.display),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                agent.request(&format!("OPTION {name}={value}"))?;
            }
        }
        if let Some(display) = &surroundings.wayland_display {
            agent.request(&format!("OPTION putenv=WAYLAND_DISPLAY={display}"))?;
        }
        Ok(agent)
    }

    /// The passphrase of a key: the agent's, if it has one, or a person's.
    pub fn passphrase(&mut self, about: &About<'_>, was_wrong: bool) -> Result<Secret, AgentError> {
        let description = match about.id {
            Some(id) => format!(
                "Millet needs the passphrase of the key {} ({})",
                about.name,
                id.short()
            ),
            None => format!("Millet needs the passphrase of the key {}", about.name),
        };
        // GET_PASSPHRASE --data CACHE-ID ERROR PROMPT DESCRIPTION, where X stands for nothing.
        let error = if was_wrong { "That is not it" } else { "X" };
        let request = format!(
            "GET_PASSPHRASE --data {} {} {} {}",
            about.id.map_or_else(|| "X".to_owned(), cache_id),
            escaped(error),
            escaped("Passphrase:"),
            escaped(&description)
        );
        let data = self.request(&request)?;
        match std::str::from_utf8(&data) {
            Ok(text) => Ok(Secret::new(Zeroizing::new(text.to_owned()))),
            Err(_) => Err(AgentError::Protocol("the passphrase is not UTF-8")),
        }
    }

    /// Has it forget a passphrase that was wrong, or it would give it again.
    pub fn forget(&mut self, about: &About<'_>) -> Result<(), AgentError> {
        match about.id {
            Some(id) => self
                .request(&format!("CLEAR_PASSPHRASE {}", cache_id(id)))
                .map(drop),
            None => Ok(()),
        }
    }

    fn request(&mut self, line: &str) -> Result<Zeroizing<Vec<u8>>, AgentError> {
        if line.len() >= LONGEST_LINE || line.contains(['\n', '\r', '\0']) {
            return Err(AgentError::Protocol("a request does not fit into one line"));
        }
        self.stream
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|source| self.unreachable(source))?;
        self.answer()
    }

    /// Reads up to `OK` or `ERR` and returns the data before it.
    fn answer(&mut self) -> Result<Zeroizing<Vec<u8>>, AgentError> {
        let mut data = Zeroizing::new(Vec::with_capacity(LONGEST_PASSPHRASE));
        for _ in 0..MOST_LINES {
            let line = self.read_line()?;
            let (word, rest) = match line.iter().position(|byte| *byte == b' ') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (line.as_slice(), [].as_slice()),
            };
            match word {
                b"OK" => return Ok(data),
                b"ERR" => return Err(refusal(&String::from_utf8_lossy(rest))),
                b"D" => {
                    let part = percent::decoded(rest).ok_or(AgentError::Protocol("a broken escape"))?;
                    if data.len() + part.len() > LONGEST_PASSPHRASE {
                        return Err(AgentError::Protocol("the passphrase is too long"));
                    }
                    data.extend_from_slice(&part);
                }
                b"S" => {}
                _ if word.starts_with(b"#") => {}
                b"INQUIRE" => return Err(AgentError::Protocol("it asks back")),
                _ => return Err(AgentError::Protocol("an unknown line")),
            }
        }
        Err(AgentError::Protocol("it does not end"))
    }

    fn read_line(&mut self) -> Result<Zeroizing<Vec<u8>>, AgentError> {
        // A line may hold a passphrase: it is read without a buffer that nobody wipes.
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_LINE));
        let mut byte = Zeroizing::new([0; 1]);
        loop {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.stream, byte.as_mut_slice())) {
                Ok(0) => return Err(self.unreachable(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) if byte[0] == b'\n' => return Ok(line),
                Ok(_) if line.len() == LONGEST_LINE => {
                    return Err(AgentError::Protocol("a line is too long"));
                }
                Ok(_) => line.push(byte[0]),
                Err(error) => return Err(self.unreachable(error.into())),
            }
        }
    }

    fn unreachable(&self, source: io::Error) -> AgentError {
        AgentError::Unreachable {
            path: self.path.clone(),
            source,
        }
    }
}

/// What the agent keeps a passphrase under. It takes at most 50 characters (agent/command.c, `cmd_get_passphrase`), so
/// the key's identifier is cut to 160 bits.
fn cache_id(id: &KeyId) -> String {
    format!("millet:{}", id.as_str().get(..40).unwrap_or(id.as_str()))
}

fn refusal(text: &str) -> AgentError {
    let (code, words) = text.split_once(' ').unwrap_or((text, "without a reason"));
    match code.parse::<u32>().map(|code| code & CODE) {
        Ok(CANCELED | FULLY_CANCELED) => AgentError::Cancelled,
        _ => AgentError::Refused(words.chars().filter(|letter| !letter.is_control()).collect()),
    }
}

/// Percent and plus, as the arguments of a request are escaped.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.:/()".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn socket() -> Result<PathBuf, AgentError> {
    let listed = gpgconf(&["--list-dirs", "agent-socket"])?;
    let path = percent::decoded(listed.trim_ascii()).unwrap_or_default();
    match std::str::from_utf8(&path) {
        Ok(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(AgentError::Protocol("gpgconf names no socket")),
    }
}

fn gpgconf(arguments: &[&str]) -> Result<Vec<u8>, AgentError> {
    let output = Command::new("gpgconf")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(AgentError::NoGpgconf)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(AgentError::NoGpgconf(io::Error::other(words)));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_escaped() {
        assert_eq!(escaped("a key+ä%"), "a+key%2B%C3%A4%25");
    }

    #[test]
    fn a_cancelled_question_is_told_from_a_refusal() {
        assert!(matches!(
            refusal("83886179 Operation cancelled <Pinentry>"),
            AgentError::Cancelled
        ));
        assert!(matches!(
            refusal("67108922 No data <GPG Agent>"),
            AgentError::Refused(_)
        ));
        assert!(matches!(refusal("nonsense"), AgentError::Refused(_)));
    }

    #[test]
    fn the_cache_id_is_short_enough_for_the_agent() {
        let id = millet_signing::PublicKey::ed25519(&[1; 32]).id();
        assert!(cache_id(&id).len() <= 50);
        assert!(cache_id(&id).starts_with("millet:"));
    }
}
