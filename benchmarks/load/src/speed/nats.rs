//! What clients do with a key-value bucket of NATS `JetStream`.

use async_nats::jetstream::{
    self,
    kv::{Config, Store},
    stream::StorageType,
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};

use super::{case::Operation, payload};
use crate::{Outcome, failure};

const BUCKET: &str = "load";

/// Opens the bucket on a connection of its own.
pub(super) async fn connect(address: &str) -> Outcome<Store> {
    let context = jetstream::new(async_nats::connect(address).await?);
    let bucket = Config {
        bucket: BUCKET.to_owned(),
        // The most it offers; Snakepit keeps 100 versions, etcd all.
        history: 64,
        storage: StorageType::File,
        ..Config::default()
    };
    Ok(context.create_key_value(bucket).await?)
}

/// Puts a key.
pub(super) struct Put {
    pub(super) store: Store,
    pub(super) key: String,
}

impl Operation for Put {
    fn run(&mut self, number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            self.store.put(self.key.as_str(), payload(number).into()).await?;
            Ok(())
        })
    }
}

/// Reads a key.
pub(super) struct Get {
    pub(super) store: Store,
    pub(super) key: String,
}

impl Operation for Get {
    fn run(&mut self, _number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            match self.store.get(self.key.as_str()).await? {
                Some(value) if value.len() == super::PAYLOAD => Ok(()),
                other => Err(failure(format!("read {other:?} from NATS"))),
            }
        })
    }
}

/// The numbers of the changes that a watch tells.
pub(super) async fn watch(store: &Store, key: &str) -> Outcome<BoxStream<'static, Outcome<u64>>> {
    let changes = store.watch(key).await?;
    Ok(changes.map(|change| super::number(&change?.value)).boxed())
}
