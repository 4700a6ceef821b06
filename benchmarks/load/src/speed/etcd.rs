//! etcd: the server as a child process, and what clients do with it. Its protocol is spoken through the same gRPC
//! library as Snakepit's, so that the generator costs the same; of its messages there is what is needed here.

use futures_util::{StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use prost::Message;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{case::Operation, payload};
use crate::{Outcome, failure};

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`; nothing of it is used.
#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

/// `etcdserverpb.RangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

/// `etcdserverpb.RangeResponse`.
#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

/// `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

/// `etcdserverpb.WatchRequest`, always one that creates a watch.
#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create_request: Option<WatchCreateRequest>,
}

/// `etcdserverpb.WatchCreateRequest`.
#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// `etcdserverpb.WatchResponse`.
#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

/// `mvccpb.Event`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

/// A connection to an etcd.
#[derive(Clone, Debug)]
pub(super) struct Client(Grpc<Channel>);

impl Client {
    pub(super) async fn connect(address: &str) -> Outcome<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
        Ok(Self(Grpc::new(channel)))
    }

    pub(super) async fn put(&mut self, key: &str, value: Vec<u8>) -> Outcome<()> {
        let request = PutRequest { key: key.into(), value };
        let _: PutResponse = self.unary("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    async fn unary<Q, A>(&mut self, path: &'static str, request: Q) -> Outcome<A>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(self.0.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    /// The numbers of the changes that a watch tells.
    pub(super) async fn watch(&mut self, key: &str) -> Outcome<BoxStream<'static, Outcome<u64>>> {
        self.0.ready().await?;
        let create = WatchRequest { create_request: Some(WatchCreateRequest { key: key.into() }) };
        // The watch lasts as long as its requests do.
        let requests = stream::once(async { create }).chain(stream::pending());
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let mut answers = self.0.streaming(Request::new(requests), path, codec).await?.into_inner();
        if !answers.message().await?.is_some_and(|it| it.created) {
            return Err(failure("etcd has not created a watch"));
        }
        let numbers = answers.flat_map(|answer| {
            let told = match answer {
                Err(ended) => vec![Err(ended.into())],
                Ok(answer) if answer.canceled => vec![Err(failure("etcd has ended a watch"))],
                Ok(answer) => {
                    answer.events.into_iter().map(|it| super::number(&it.kv.unwrap_or_default().value)).collect()
                }
            };
            stream::iter(told)
        });
        Ok(numbers.boxed())
    }
}

/// Puts a key.
pub(super) struct Put {
    pub(super) client: Client,
    pub(super) key: String,
}

impl Operation for Put {
    fn run(&mut self, number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move { self.client.put(&self.key, payload(number)).await })
    }
}

/// Reads a key.
pub(super) struct Get {
    pub(super) client: Client,
    pub(super) key: String,
    /// From this member's own state, without asking whether it is the newest.
    pub(super) serializable: bool,
}

impl Operation for Get {
    fn run(&mut self, _number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            let request = RangeRequest { key: self.key.clone().into_bytes(), serializable: self.serializable };
            let read: RangeResponse = self.client.unary("/etcdserverpb.KV/Range", request).await?;
            match read.kvs.first() {
                Some(it) if it.value.len() == super::PAYLOAD => Ok(()),
                other => Err(failure(format!("read {other:?} from etcd"))),
            }
        })
    }
}
