//! A client that sends any bytes.

use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tokio_stream::StreamExt as _;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// Sends bytes as the request of a method; answers with those of the response.
pub async fn call(channel: &Channel, method: &'static str, request: impl Into<Bytes>) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client
        .unary(Request::new(request.into()), PathAndQuery::from_static(method), Raw)
        .await
        .map(tonic::Response::into_inner)
}

/// Sends such messages over a stream that stays open; answers with what comes back.
pub async fn stream(channel: &Channel, method: &'static str, messages: Vec<Bytes>) -> Result<Streaming<Bytes>, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let messages = tokio_stream::iter(messages).chain(tokio_stream::pending());
    let answer = client.streaming(Request::new(messages), PathAndQuery::from_static(method), Raw).await?;
    Ok(answer.into_inner())
}

/// Sends one message to any kind of method, by any kind of channel, and waits for the first that comes back, or the end.
pub async fn first<T>(channel: T, method: &str, message: Bytes) -> Result<(), Status>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: std::error::Error + Send + Sync + 'static,
    T::ResponseBody: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let request = Request::new(tokio_stream::iter([message]));
    client.streaming(request, method.parse().unwrap(), Raw).await?.into_inner().message().await.map(drop)
}

/// A length-delimited protobuf field.
pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        bytes.push(u8::try_from(length & 127).unwrap() | 128);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(content);
    bytes
}

#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
