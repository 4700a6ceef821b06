use std::{collections::BTreeMap, sync::Arc, time::Duration};

use snakepit_core::variable::Name;

/// What a tool is. Two offers of one name have to be equal.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Like a variable's.
    pub name: Name,
    /// For people and language models.
    pub description: String,
    /// A JSON Schema of its arguments, as text; empty: any.
    pub arguments_schema: Arc<str>,
    /// A JSON Schema of its result, for readers; may be empty.
    pub result_schema: Arc<str>,
    /// Whether it yields chunks before its result.
    pub streaming: bool,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// How long a call may take, retries included.
    pub timeout: Option<Duration>,
    /// How to retry it if it is idempotent.
    pub retry: RetryPolicy,
    /// Calls of it that one worker runs at once; `None`: as many as the worker runs in all.
    pub max_concurrency: Option<u32>,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
}

impl ToolSpec {
    /// A tool that takes anything, is run once, for as long as its caller waits.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            description: String::new(),
            arguments_schema: Arc::default(),
            result_schema: Arc::default(),
            streaming: false,
            idempotent: false,
            timeout: None,
            retry: RetryPolicy::default(),
            max_concurrency: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// When to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all.
    pub max_attempts: u32,
    /// Before the second attempt.
    pub initial_backoff: Duration,
    /// What each further backoff is multiplied by.
    pub multiplier: f64,
    /// The longest backoff, and how long an attempt waits for some worker to be there again.
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            multiplier: 2.0,
            max_backoff: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// The longest pause after so many attempts. The pause itself is drawn between half of it and all of it.
    pub fn backoff(&self, attempts: u32) -> Duration {
        let factor = self.multiplier.powi(i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX));
        let longest = self.max_backoff.as_secs_f64();
        Duration::from_secs_f64((self.initial_backoff.as_secs_f64() * factor).clamp(0.0, longest))
    }
}
