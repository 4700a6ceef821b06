use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Label, seconds};

/// How groups of events are committed, whatever the home.
#[derive(Clone, Debug)]
pub(crate) struct JournalMetrics {
    group_events: Histogram,
    waited: Histogram,
    commit: Histogram,
    appended: Counter,
    not_applied: Counter,
    unknown: Counter,
    failures: Family<Label, Counter>,
}

impl Default for JournalMetrics {
    fn default() -> Self {
        let failures = Family::<Label, Counter>::default();
        let outcome = |outcome| failures.get_or_create_owned(&[("outcome", outcome)]);
        Self {
            group_events: Histogram::new((0..10).map(|power| f64::from(1 << power))),
            waited: seconds(),
            commit: seconds(),
            appended: Counter::default(),
            not_applied: outcome("not_applied"),
            unknown: outcome("unknown"),
            failures,
        }
    }
}

impl JournalMetrics {
    /// An event has waited so long for its group to begin.
    pub(crate) fn waited(&self, wait: Duration) {
        self.waited.observe(wait.as_secs_f64());
    }

    /// A group was committed.
    pub(crate) fn committed(&self, events: usize, bytes: u64, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a group has hundreds of events")]
        self.group_events.observe(events as f64);
        self.appended.inc_by(bytes);
        self.commit.observe(took.as_secs_f64());
    }

    /// A group was not committed, for certain.
    pub(crate) fn not_applied(&self) {
        self.not_applied.inc();
    }

    /// Nobody knows whether a group was committed.
    pub(crate) fn unknown(&self) {
        self.unknown.inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "journal_group_events",
            "Events that were committed together, as one transaction with one sync",
            self.group_events.clone(),
        );
        registry.register_with_unit(
            "journal_wait_duration",
            "From an event's decision until its group was begun",
            Unit::Seconds,
            self.waited.clone(),
        );
        registry.register_with_unit(
            "journal_commit_duration",
            "How long a group took to become durable, with the way to the journal's thread and back",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register_with_unit(
            "journal_appended",
            "About how many bytes the committed events have",
            Unit::Bytes,
            self.appended.clone(),
        );
        registry.register("journal_failures", "Groups that were not committed", self.failures.clone());
    }
}

/// How a home fares. One that counts nothing tells zeros.
#[derive(Clone)]
pub struct HomeMetrics {
    sync: Histogram,
    fold: Histogram,
    checkpoint: Histogram,
    /// What the files are called in the label, and where they are.
    files: Vec<(&'static str, PathBuf)>,
}

impl Default for HomeMetrics {
    fn default() -> Self {
        Self { sync: seconds(), fold: seconds(), checkpoint: seconds(), files: Vec::new() }
    }
}

impl fmt::Debug for HomeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HomeMetrics").field("files", &self.files).finish_non_exhaustive()
    }
}

impl HomeMetrics {
    /// Of a journal in this file, with its write-ahead log.
    pub(crate) fn of(journal: &Path) -> Self {
        let mut log = journal.as_os_str().to_owned();
        log.push("-wal");
        Self { files: vec![("tables", journal.into()), ("log", log.into())], ..Self::default() }
    }

    /// A group was written and synced.
    pub(crate) fn synced(&self, took: Duration) {
        self.sync.observe(took.as_secs_f64());
    }

    /// A session was folded.
    pub(crate) fn folded(&self, took: Duration) {
        self.fold.observe(took.as_secs_f64());
    }

    /// The log was copied into the tables, or that failed.
    pub(crate) fn checkpointed(&self, took: Duration) {
        self.checkpoint.observe(took.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, histogram) in [
            ("journal_sync_duration", "How long the disk took to write a group and to sync it", &self.sync),
            ("journal_fold_duration", "How long folding a session's events into rows took", &self.fold),
            (
                "journal_checkpoint_duration",
                "How long copying the write-ahead log into the tables took",
                &self.checkpoint,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register_collector(Box::new(Files(self.files.clone())));
    }
}

/// Looks at the journal's files when somebody asks.
#[derive(Debug)]
struct Files(Vec<(&'static str, PathBuf)>);

impl Collector for Files {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Bytes of the journal's files: its tables, and its write-ahead log.";
        let mut sizes = encoder.encode_descriptor("journal_file", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for (file, path) in &self.0 {
            // One that is not there now has nothing to tell.
            if let Ok(found) = path.metadata() {
                ConstGauge::new(found.len()).encode(sizes.encode_family(&[("file", *file)])?)?;
            }
        }
        #[cfg(unix)]
        if let Some(space) = self.0.first().and_then(|(_, path)| rustix::fs::statvfs(path.parent()?).ok()) {
            let help = "Bytes that are free on the journal's file system.";
            let free = encoder.encode_descriptor("journal_disk_free", help, Some(&Unit::Bytes), MetricType::Gauge)?;
            ConstGauge::new(space.f_bavail.saturating_mul(space.f_frsize)).encode(free)?;
        }
        Ok(())
    }
}
