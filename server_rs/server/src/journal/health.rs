use std::sync::Arc;

use tokio::sync::watch;

/// Whether writes become durable at present, and if not why. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<watch::Sender<Option<Arc<str>>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Health {
    /// Nothing can be written at present.
    pub fn failed(&self, cause: &str) {
        self.0.send_if_modified(|known| {
            let news = known.as_deref() != Some(cause);
            *known = Some(cause.into());
            news
        });
    }

    /// Writing works, again.
    pub fn recovered(&self) {
        self.0.send_if_modified(|known| known.take().is_some());
    }

    /// Why nothing can be written at present; none if it can.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.0.borrow().clone()
    }

    /// Tells when that changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.subscribe()
    }
}
