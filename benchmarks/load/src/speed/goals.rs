//! What the figures have to reach.

use serde_json::json;

use super::case::Case;
use crate::report::Report;

/// What a durable write may take beyond the disk and the bare rpc, in microseconds.
const SURCHARGE: u64 = 200;
/// The share of what disk and rpc would allow that many writers have to reach.
const SHARE: f64 = 0.6;
/// Or this many writes a second, on a disk that syncs within [`FAST_DISK`] microseconds.
const ENOUGH: f64 = 5_000.0;
const FAST_DISK: u64 = 4_000;
/// Reads are to be so many times etcd's.
const READS: f64 = 2.0;

/// Says which goals are met.
pub(super) fn judge(cases: &[Case], clients: usize, report: &mut Report) {
    let find = |name: &str| cases.iter().find(|case| case.name == name);
    let (Some(disk), Some(check)) = (find("1 append of 4 KiB + fdatasync"), find("1 health check")) else { return };
    let bare = disk.p50() + check.p50();
    if let Some(own) = find("1 writer: snakepit") {
        let goal = bare + SURCHARGE;
        let text = format!("one write: p50 {} µs, at most {bare} + {SURCHARGE} = {goal} µs", own.p50());
        verdict(report, "write", own.p50() <= goal, &text);
    }
    if let Some(own) = find("writers: snakepit") {
        #[expect(clippy::cast_precision_loss, reason = "a few clients, microseconds")]
        let share = SHARE * clients as f64 * 1e6 / bare as f64;
        let least = if disk.p50() <= FAST_DISK { share.min(ENOUGH) } else { share };
        let text = format!(
            "{clients} writers: {:.0} a second, at least {least:.0} (60 % of {clients} / (disk + rpc) is {share:.0})",
            own.rate()
        );
        verdict(report, "writers", own.rate() >= least, &text);
        for peer in ["etcd", "nats"] {
            let Some(other) = find(&format!("writers: {peer}")) else { continue };
            let text = format!("{clients} writers: {:.2} × {peer}, at least 1", own.rate() / other.rate());
            verdict(report, &format!("writers beside {peer}"), own.rate() >= other.rate(), &text);
        }
    }
    if let (Some(own), Some(etcd)) = (find("readers: snakepit"), find("readers: etcd")) {
        let times = own.rate() / etcd.rate();
        verdict(report, "reads", times >= READS, &format!("{clients} readers: {times:.2} × etcd, at least {READS}"));
    }
}

/// Takes whether a goal is met.
pub(super) fn verdict(report: &mut Report, goal: &str, met: bool, text: &str) {
    report.line(format!("{} {text}", if met { "met:   " } else { "MISSED:" }));
    report.fact(&format!("goal: {goal}"), json!({"met": met, "text": text}));
}
