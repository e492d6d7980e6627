use std::path::PathBuf;

use millet_signing::KeyId;
use serde::Serialize;

use super::request::Request;
use super::{check_first_root, next_for, print_progress, words};
use crate::config::Config;
use crate::output;

/// `millet sign show`
#[derive(clap::Args)]
pub struct Args {
    /// The request.
    file: PathBuf,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// What a script reads of a request.
#[derive(Serialize)]
pub struct Shown {
    changes: Vec<String>,
    complete: bool,
    roles: Vec<Role>,
}

#[derive(Serialize)]
struct Role {
    role: String,
    threshold: u64,
    signed: Vec<KeyId>,
    missing: Vec<KeyId>,
}

pub fn run(args: &Args, config: Option<&Config>) -> anyhow::Result<()> {
    let request = Request::read(&args.file)?;
    check_first_root(&request, config)?;
    let changes = words::changes(&request);
    if args.json {
        return output::print_json(&Shown::of(&request, changes));
    }
    output::print(&changes.join("\n"))?;
    print_progress(&request)?;
    next_for(&request, &args.file);
    Ok(())
}

impl Shown {
    /// Of a request that changes this, in words.
    pub fn of(request: &Request, changes: Vec<String>) -> Self {
        let progress = request.progress();
        Self {
            changes,
            complete: progress.iter().all(|role| role.is_complete()),
            roles: (progress.into_iter())
                .map(|role| Role {
                    role: role.whose,
                    threshold: role.threshold,
                    signed: role.signed,
                    missing: role.missing,
                })
                .collect(),
        }
    }
}
