use std::fs;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What one process cost, by the kernel's own accounts.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// How it ended.
    pub status: ExitStatus,
    /// User and system time of all its threads, without its children's.
    pub cpu: Duration,
    /// From the call until its end.
    pub wall: Duration,
    /// Highest resident set, in bytes.
    pub peak_rss: u64,
}

/// Waits for a process and says what it cost.
pub fn wait(child: &mut Child) -> Result<Cost> {
    let cost = wait_at_most(child, Duration::MAX)?;
    cost.context("a process outlived all patience")
}

/// Waits for a process and says what it cost; `None` when it took longer than `patience` and was killed.
pub fn wait_at_most(child: &mut Child, patience: Duration) -> Result<Option<Cost>> {
    let started = now();
    let mut cpu = Duration::ZERO;
    let mut peak_rss = 0;
    let status = loop {
        // A peak within the last 5 ms before the end can be missed; the applier's plateaus last far longer.
        peak_rss = peak_rss.max(peak_resident(child.id()).unwrap_or(0));
        cpu = cpu.max(processor_time(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait().context("cannot wait for a process")? {
            break status;
        }
        if now() - started > patience {
            child.kill().context("cannot kill a process")?;
            child.wait().context("cannot wait for a process")?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Some(Cost {
        status,
        cpu,
        wall: now() - started,
        peak_rss,
    }))
}

/// The clock that durations are measured with.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: the harness's one look at a clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// `VmHWM` of proc_pid_status(5), in bytes; `None` once the process has gone.
fn peak_resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// utime and stime of proc_pid_stat(5), fields 14 and 15, in clock ticks of 10 ms.
fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, field 2, is in parentheses and may hold spaces.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system).checked_mul(10)?))
}
