//! How often a caller may ask.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use snakepit_core::{access::Principal, error::Error};
use tokio::time::Instant;

/// Callers whose pace is known; beyond it those who have been slow for a second are forgotten, then all.
const CALLERS: usize = 65_536;

/// Lets everyone ask so many times a second, and as many at once after a second of silence.
pub(in crate::service) struct Pace {
    per_second: u64,
    callers: Mutex<HashMap<Who, Left>>,
}

/// Whom requests are counted for.
#[derive(PartialEq, Eq, Hash)]
enum Who {
    /// Those whose name is known, wherever they are.
    Named(Arc<str>),
    /// All others of one address.
    From(Option<IpAddr>),
}

/// How many requests were left to a caller, and when.
struct Left {
    requests: f64,
    at: Instant,
}

impl Pace {
    /// 0: any number.
    pub(in crate::service) fn new(per_second: u64) -> Self {
        Self { per_second, callers: Mutex::default() }
    }

    /// Counts a request, if there is one left.
    pub(super) fn take(&self, principal: Option<&Principal>, from: Option<IpAddr>) -> Result<(), Error> {
        if self.per_second == 0 {
            return Ok(());
        }
        let named = principal.filter(|principal| principal.verified);
        let who = named.map_or(Who::From(from), |principal| Who::Named(Arc::clone(&principal.name)));
        let now = Instant::now();
        let mut callers = self.callers.lock();
        if callers.len() >= CALLERS {
            callers.retain(|_, left| self.left(left, now) < self.most());
            if callers.len() >= CALLERS {
                callers.clear();
            }
        }
        let left = callers.entry(who).or_insert_with(|| Left { requests: self.most(), at: now });
        *left = Left { requests: self.left(left, now), at: now };
        if left.requests < 1.0 {
            return Err(Error::LimitExceeded { limit: "requests_per_second", max: self.per_second });
        }
        left.requests -= 1.0;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody asks 2^53 times a second")]
    fn most(&self) -> f64 {
        self.per_second as f64
    }

    fn left(&self, left: &Left, now: Instant) -> f64 {
        (left.requests + now.duration_since(left.at).as_secs_f64() * self.most()).min(self.most())
    }
}
