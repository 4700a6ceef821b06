//! Equal things are one: sessions by the thousand declare the same variables.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher as _},
    sync::{Arc, LazyLock, Weak},
};

use parking_lot::Mutex;

/// What is in use, by hash. Of two with the same hash the later one counts: sharing is only thrift.
pub(super) struct InUse<T: ?Sized>(LazyLock<Mutex<HashMap<u64, Weak<T>>>>);

impl<T: ?Sized + Hash + Eq> InUse<T> {
    pub(super) const fn nothing() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    /// The one in use that is equal to this one, which is this one if there is none.
    pub(super) fn share(&self, new: Arc<T>) -> Arc<T> {
        let mut hasher = DefaultHasher::new();
        new.hash(&mut hasher);
        let hash = hasher.finish();
        let mut in_use = self.0.lock();
        if let Some(known) = in_use.get(&hash).and_then(Weak::upgrade).filter(|known| **known == *new) {
            return known;
        }
        // Before it grows, what nobody uses any more makes room.
        if in_use.len() == in_use.capacity() {
            in_use.retain(|_, known| known.strong_count() > 0);
        }
        in_use.insert(hash, Arc::downgrade(&new));
        new
    }
}
