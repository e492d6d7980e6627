//! Reads framed files from stdin and judges them: an instant (seconds of Unix time, i64, big-endian), the first root, and the
//! answers to what a refresh asks for.
//!
//! With the feature `verifier` the judge is `millet-signing`, which checks real bytes against the role `builds.rubik`, so
//! that no part of it can be left out by the linker. Without it the frames are only counted.

use std::io::{self, Read};
use std::process::ExitCode;

/// Bytes that are read at most.
const LONGEST: u64 = 64 << 20;

fn main() -> ExitCode {
    let mut bytes = Vec::new();
    if io::stdin().take(LONGEST).read_to_end(&mut bytes).is_err() {
        return ExitCode::FAILURE;
    }
    match judge(&mut frames(&bytes)) {
        Ok(verdict) => {
            println!("{verdict}");
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            eprintln!("{refusal}");
            ExitCode::FAILURE
        }
    }
}

/// Each frame is its length (u32, big-endian) and so many bytes. What is cut off ends the frames.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (frame, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(frame)
    })
}

#[cfg(feature = "verifier")]
fn judge<'a>(frames: &mut dyn Iterator<Item = &'a [u8]>) -> Result<String, String> {
    use millet_signing::{Files, Limits, Refresh, Step, TrustError};

    let in_words = |refusal: TrustError| refusal.to_string();
    let seconds = frames.next().and_then(|frame| frame.try_into().ok());
    let now = jiff::Timestamp::from_second(i64::from_be_bytes(seconds.unwrap_or_default()))
        .map_err(|_| "no such instant".to_owned())?;
    let first = frames.next().unwrap_or_default();
    let roles = ["builds.rubik".to_owned()];
    let refresh = Refresh::start(first, Files::new(), &roles, Limits::default(), now);
    let mut refresh = refresh.map_err(in_words)?;
    while refresh.next() != Step::Done {
        // An empty frame says that there is no such file.
        let answer = frames.next().filter(|frame| !frame.is_empty());
        refresh.supply(answer.map(<[u8]>::to_vec)).map_err(in_words)?;
    }
    let set = refresh.finish().map_err(in_words)?.set;
    let targets = set.delegated("builds.rubik").map_or(0, |role| role.targets.len());
    Ok(format!("root {}, {targets} targets", set.root().version))
}

#[cfg(not(feature = "verifier"))]
fn judge<'a>(frames: &mut dyn Iterator<Item = &'a [u8]>) -> Result<String, String> {
    Ok(format!("{} frames", frames.count()))
}
