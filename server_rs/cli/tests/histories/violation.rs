//! What is wrong with a history.

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in a word.
    pub rule: &'static str,
    /// What is wrong.
    pub text: String,
    /// The revisions concerned, for the excerpt.
    pub revisions: Vec<u64>,
    /// The writes concerned.
    pub tags: Vec<String>,
}

impl Violation {
    pub fn new(rule: &'static str, text: impl Into<String>) -> Self {
        Self { rule, text: text.into(), revisions: Vec::new(), tags: Vec::new() }
    }

    #[must_use]
    pub fn at(mut self, revision: u64) -> Self {
        self.revisions.push(revision);
        self
    }

    #[must_use]
    pub fn of(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }
}
