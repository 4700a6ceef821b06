//! Which variables someone is interested in.

use std::collections::BTreeSet;

use crate::glob::Glob;

/// Names and a glob; a variable matches if either has it. With neither, all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    names: BTreeSet<String>,
    pattern: Option<Glob>,
}

impl Filter {
    /// A filter of names, whether they exist or not, and a glob, unless it is empty.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>, pattern: &str) -> Self {
        let pattern = (!pattern.is_empty()).then(|| Glob::new(pattern));
        Self { names: names.into_iter().map(Into::into).collect(), pattern }
    }

    /// Whether it lets the name through.
    pub fn matches(&self, name: &str) -> bool {
        self.is_everything()
            || self.names.contains(name)
            || self.pattern.as_ref().is_some_and(|glob| glob.matches(name))
    }

    /// The names asked for one by one, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether only names asked for one by one match.
    pub(super) fn is_names_only(&self) -> bool {
        self.pattern.is_none() && !self.names.is_empty()
    }

    fn is_everything(&self) -> bool {
        self.pattern.is_none() && self.names.is_empty()
    }
}
