//! What every live session is, wherever it comes from: its parts fit together.

#![allow(clippy::missing_panics_doc, reason = "for tests")]

use std::collections::BTreeSet;

use crate::session::{RecordKind, State};

/// Panics if they do not.
pub fn check(state: &State) {
    let bytes: u64 = state.variables().map(|it| it.spec.counted(&it.value)).sum();
    assert_eq!(state.value_bytes(), bytes);
    let described: u64 = state.variables().map(|it| it.spec.described_len()).sum();
    assert_eq!(state.described_bytes, described);
    let by_name: BTreeSet<_> = state.variables().map(|it| (it.revision, it.name.clone())).collect();
    let by_revision: BTreeSet<_> = state.by_revision.iter().cloned().collect();
    assert_eq!(by_name, by_revision);
    for (name, history) in &state.histories {
        let deleted = history.iter().next().is_some_and(|newest| newest.kind == RecordKind::Deleted);
        assert!(deleted || state.variable(name).is_some(), "{name:?} has a past and no present");
        assert!(state.history(name).is_some_and(|mut versions| versions.next().is_some()));
    }
    // It answers whatever is asked.
    for revision in [0, 1, state.revision.saturating_sub(1), state.revision, u64::MAX] {
        if let Ok(events) = state.log_since(revision) {
            events.for_each(drop);
        }
        drop(state.sync(Some(revision), &["a", "b"], &["c"]));
    }
}
