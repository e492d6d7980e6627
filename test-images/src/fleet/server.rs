use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Programs;

/// A running `millet-server`. It is killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: String,
    data: PathBuf,
}

impl ServerProcess {
    /// Starts the server and waits until it listens. Its log goes to `<data>.log`.
    ///
    /// `listen` may name port 0; after a kill, pass the earlier address to come back where the devices look.
    pub fn start(programs: &Programs, data: &Path, listen: &str) -> Result<Self> {
        let mut child = Command::new(&programs.server)
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", programs.server.display()))?;
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(data.with_extension("log"))?;
        let stderr = child.stderr.take().context("the server has no stderr")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line?;
            writeln!(log, "{line}")?;
            if let Some((_, address)) = line.split_once("listening on http://") {
                let address = address.trim().to_owned();
                std::thread::spawn(move || {
                    for line in lines.map_while(Result::ok) {
                        // A log that cannot be written must not stop the server's pipe from being emptied.
                        let _ = writeln!(log, "{line}");
                    }
                });
                return Ok(Self {
                    child,
                    address,
                    data: data.to_owned(),
                });
            }
            said.push_str(&line);
            said.push('\n');
        }
        let status = child.wait()?;
        bail!("the server ended before it listened ({status}):\n{said}")
    }

    /// `http://ADDRESS`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `ADDRESS:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Ends the server as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the server")?;
        self.child.wait().context("cannot wait for the server")?;
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
