//! A digest of what a session is.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};

use super::State;

/// Feeds what is hashed to SHA-256, all of it and in order.
struct Collector(Sha256);

impl Hasher for Collector {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

impl State {
    /// A SHA-256 of what the session is, without what it keeps of the past: replaying its events under other windows
    /// gives the same. Comparable between builds of one version only.
    pub fn hash(&self) -> [u8; 32] {
        let mut collector = Collector(Sha256::new());
        (&self.id, self.incarnation, self.revision, self.created_at, self.ttl, &self.metadata, self.last_event)
            .hash(&mut collector);
        self.len().hash(&mut collector);
        self.variables().for_each(|variable| variable.hash(&mut collector));
        collector.0.finalize().into()
    }
}
