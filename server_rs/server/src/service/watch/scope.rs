//! What a watch is about, and what it is told first.

use std::{collections::BTreeSet, sync::Arc};

use snakepit_core::{
    session::{Filter, State, Sync},
    variable::Variable,
};

use crate::service::page::PAGE_BYTES;

/// Which variables a watch of the latest state is about.
pub(super) struct Scope {
    /// Those known as of the known revision.
    narrow: Filter,
    /// And those that are new to the client.
    pub(super) wide: Filter,
    new_names: Vec<String>,
}

impl Scope {
    pub(super) fn new(names: Vec<String>, new_names: Vec<String>, pattern: &str) -> Self {
        let narrow = Filter::new(names.iter().cloned(), pattern);
        let wide = Filter::new(names.into_iter().chain(new_names.iter().cloned()), pattern);
        Self { narrow, wide, new_names }
    }

    /// What a watch begins with.
    pub(super) fn first(&self, state: &State, known: Option<u64>) -> Sync {
        // A filter of nothing is a filter of everything: with new names alone, nothing is known yet.
        let resumes = self.new_names.is_empty() || self.narrow != Filter::default();
        let mut sync = state.sync_matching(known.filter(|_| resumes), &self.narrow);
        if sync.full {
            return state.sync_matching(None, &self.wide);
        }
        let new_names: BTreeSet<&str> = self.new_names.iter().map(String::as_str).collect();
        sync.changed.retain(|variable| !new_names.contains(&*variable.name));
        sync.absent.retain(|name| !new_names.contains(&**name));
        let new = state.sync(Some(state.revision), &[], &new_names.into_iter().collect::<Vec<_>>());
        sync.changed.extend(new.changed);
        sync.absent.extend(new.absent);
        sync
    }
}

/// Variables in parts of about a page's size, at least one, each with whether more follow. `secrets` says whether the
/// values of secrets are among what is sent: if not, they must not show in how it is divided.
pub(super) fn parts(variables: Vec<Arc<Variable>>, secrets: bool) -> impl Iterator<Item = (Vec<Arc<Variable>>, bool)> {
    /// More than name, version, author and the like take.
    const AROUND: u64 = 512;
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for variable in variables {
        let shown = secrets || !variable.spec.secret;
        let value = if shown { variable.value.encoded_len() } else { 0 };
        let size = value + variable.spec.encoded_len() + variable.reason.len() as u64 + AROUND;
        bytes += size;
        if bytes > PAGE_BYTES as u64 && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(Vec::new());
            bytes = size;
        }
        if let Some(part) = parts.last_mut() {
            part.push(variable);
        }
    }
    let last = parts.len() - 1;
    parts.into_iter().enumerate().map(move |(index, part)| (part, index < last))
}
