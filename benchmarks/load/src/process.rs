//! Processes as the kernel accounts for them.

use std::{fs, io, time::Duration};

/// Ticks of `/proc/PID/stat` a second: the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// What a process takes at a moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident pages.
    pub rss: u64,
    /// The same, shared ones in proportion.
    pub pss: u64,
    /// The greatest `rss` so far.
    pub peak: u64,
}

/// The CPU time of a process so far, user and system.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces; what follows its bracket does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Ok(Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS))
}

/// The CPU time of this process so far.
pub fn own_cpu() -> io::Result<Duration> {
    cpu(std::process::id())
}

/// The resident pages of a process, in bytes; cheaper than all of [`memory`].
pub fn rss(pid: u32) -> io::Result<u64> {
    Ok(field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:"))
}

/// What a process takes now.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory { rss: field(&status, "VmRSS:"), pss: field(&rollup, "Pss:"), peak: field(&status, "VmHWM:") })
}

/// A line in KiB, in bytes.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|it| it.parse::<u64>().ok()).unwrap_or_default()
        * 1024
}
