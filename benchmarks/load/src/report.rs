//! What a run prints and leaves behind.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Lines for people, figures for programs.
#[derive(Debug)]
pub struct Report {
    name: String,
    lines: Vec<String>,
    facts: Map<String, Value>,
    failures: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Vec::new(), facts: Map::new(), failures: Vec::new() }
    }

    /// Takes a line, and prints it at once.
    pub fn line(&mut self, line: impl Into<String>) {
        let line = line.into();
        // Nobody reads any more: the files are still wanted.
        let _ = writeln!(io::stdout(), "{line}");
        self.lines.push(line);
    }

    /// Takes a figure.
    pub fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_owned(), value);
    }

    /// Takes what must not be; the run fails with it once all is written.
    pub fn fail(&mut self, problem: String) {
        self.failures.push(problem);
    }

    /// What must not have been.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Writes `DATE-NAME.txt` and `.json`, never over what another run of the day has left.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let first = format!("{}-{}", today(), self.name);
        let (mut stem, mut taken) = (first.clone(), 1);
        while directory.join(format!("{stem}.txt")).exists() {
            taken += 1;
            stem = format!("{first}-{taken}");
        }
        fs::write(directory.join(format!("{stem}.txt")), self.lines.join("\n") + "\n")?;
        let raw = json!({"machine": machine(), "facts": self.facts});
        fs::write(directory.join(format!("{stem}.json")), format!("{raw}\n"))
    }
}

/// The line that says where the figures come from.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models: Vec<&str> = cpus.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split(": ").nth(1)).unwrap_or("?");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{} cores {model}; Linux {}; load {load}", models.len(), read("/proc/sys/kernel/osrelease").trim())
}

/// Says how far a long run is.
pub fn progress(line: &str) {
    // Nobody reads any more: the run goes on.
    let _ = writeln!(io::stderr(), "{line}");
}

/// The usual percentiles of microseconds.
pub fn percentiles(microseconds: &Histogram<u64>) -> String {
    let at = |quantile: f64| {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of minutes")]
        let value = microseconds.value_at_quantile(quantile) as f64 / 1_000.0;
        format!("{value:.3}")
    };
    format!("p50 {} ms, p90 {} ms, p99 {} ms, max {} ms", at(0.5), at(0.9), at(0.99), at(1.0))
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

/// YYYY-MM-DD, in UTC.
fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 86_400;
    // Days to a civil date by eras of 400 years, in each of which March is the first month.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
