use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use millet_server::bounds::Bounds;
use millet_server::edge::{Clock, Random};
use millet_server::keys::TRUST_ADVICE;
use millet_server::listen::{connections, listen};
use millet_server::patience::Patience;
use millet_server::{Config, Server};
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output::say;

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder that holds everything: its own, made on first start.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen. Put a TLS proxy in front of it when it is not this machine alone.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The time zone that people see, such as Asia/Shanghai; the system's when absent.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

/// A request that is still being answered gets so long after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let served = runtime.block_on(serve(arguments));
    // A delta that is being made cannot be interrupted and need not be: its job is taken again after the next start.
    runtime.shutdown_background();
    served
}

/// As much as the largest publication, for which changes are still taken. Signatures that are renewed need far less.
const LEAST_ROOM: u64 = 64 << 20;

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let zone = zone(arguments.zone.as_deref())?;
    let connections = connections(getrlimit(Resource::Nofile).current)?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listen on {}", arguments.listen))?;
    let address = listener.local_addr().context("ask for the address")?;
    // After the address is ours, so that a start that fails on it makes nothing.
    let server = Server::open(Config {
        data: arguments.data.clone(),
        zone,
        clock: clock(),
        random: random(),
        bounds: Bounds::default(),
        least_room: LEAST_ROOM,
    })
    .await?;
    introduce(&server, &arguments);
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    say(&format!("listening on http://{address}"));
    let serving = listen(
        listener,
        server.router(),
        Patience::default(),
        connections,
        stop.clone(),
    );
    let background = server.run_background(stop.clone());
    let stopping = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(serving, background) } => {}
        () = stopping => tracing::warn!("some requests did not end in time"),
    }
    server.close().await;
    say("stopped");
    Ok(())
}

/// Says what this start made, and nothing of what was there.
fn introduce(server: &Server, arguments: &Arguments) {
    let (made, state) = (server.made(), server.state());
    if made.folder {
        say(&format!("made {}", arguments.data.display()));
    }
    if made.token {
        let path = state.token_path.display();
        say(&format!("wrote {path}: whoever holds it may publish"));
    }
    if made.keys {
        for (role, key) in state.writer.keys().public() {
            say(&format!("made the {role} key {}", key.id()));
        }
    }
    if let Some(untrusted) = server.untrusted() {
        tracing::error!(reason = %untrusted, "nothing can be signed");
        say(&format!(
            "warning: {untrusted}; changes are refused. {TRUST_ADVICE}"
        ));
    }
    if made.folder {
        say("next: millet repo init");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this binary that asks for the time"
)]
fn clock() -> Clock {
    Clock::new(jiff::Timestamp::now)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this binary that asks for randomness"
)]
fn random() -> Random {
    Random::new(|bytes| getrandom::fill(bytes).map_err(std::io::Error::other))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this binary that asks for the zone"
)]
fn zone(name: Option<&str>) -> anyhow::Result<TimeZone> {
    match name {
        Some(name) => TimeZone::get(name).with_context(|| format!("{name:?} is not a time zone")),
        None => Ok(TimeZone::system()),
    }
}
