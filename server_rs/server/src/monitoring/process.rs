//! What the system says of this process, under the names that Prometheus' own libraries use.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Looks when somebody asks. What this system does not tell is left out.
#[derive(Debug)]
pub(super) struct Process {
    /// About when the process began, in seconds since 1970: when its server did.
    pub(super) started: f64,
}

impl Process {
    /// Of a process that has just begun to serve.
    pub(super) fn now() -> Self {
        Self { started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut tell = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        let started = ConstGauge::new(self.started);
        tell("process_start_time", "When this process began to serve, since 1970.", Some(Unit::Seconds), &started)?;
        if let Some(cpu) = system::cpu() {
            tell("process_cpu", "CPU time of this process.", Some(Unit::Seconds), &ConstCounter::new(cpu))?;
        }
        if let Some(bytes) = system::resident() {
            let help = "Memory of this process that is in RAM.";
            tell("process_resident_memory", help, Some(Unit::Bytes), &ConstGauge::new(bytes))?;
        }
        if let Some(open) = system::open_fds() {
            tell("process_open_fds", "Open file descriptors.", None, &ConstGauge::new(open))?;
        }
        if let Some(most) = system::max_fds() {
            tell("process_max_fds", "File descriptors that may be open.", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

#[cfg(unix)]
mod system {
    use std::fs;

    use rustix::{
        process::{Resource, getrlimit},
        time::{ClockId, clock_gettime},
    };

    #[expect(clippy::cast_precision_loss, reason = "2^53 seconds are long")]
    #[expect(clippy::unnecessary_wraps, reason = "not every system tells")]
    pub(super) fn cpu() -> Option<f64> {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }

    /// As Linux tells.
    pub(super) fn resident() -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// As Linux tells, without the one that looks.
    pub(super) fn open_fds() -> Option<u64> {
        Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
    }

    pub(super) fn max_fds() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }
}

#[cfg(not(unix))]
mod system {
    pub(super) fn cpu() -> Option<f64> {
        None
    }

    pub(super) fn resident() -> Option<u64> {
        None
    }

    pub(super) fn open_fds() -> Option<u64> {
        None
    }

    pub(super) fn max_fds() -> Option<u64> {
        None
    }
}
