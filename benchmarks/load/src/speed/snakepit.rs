//! What clients do with a Snakepit server.

use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use snakepit_client::Connected;
use snakepit_proto::v1::{
    GetVariablesRequest, Value, WatchMode, value::Kind, variable_service_client::VariableServiceClient,
    watch_variables_response::Event as Told,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{case::Operation, payload};
use crate::{Outcome, failure, session::Session};

/// The variable that all is about.
pub(super) const NAME: &str = "value";

/// Sets a variable of bytes.
pub(super) struct Set(pub(super) Session);

impl Operation for Set {
    fn run(&mut self, number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            self.0.set(NAME, bytes(payload(number))).await?;
            Ok(())
        })
    }
}

/// Reads it.
pub(super) struct Get {
    request: GetVariablesRequest,
    client: VariableServiceClient<Connected>,
}

impl Get {
    pub(super) fn new(session: &Session, channel: &Connected) -> Self {
        let request = GetVariablesRequest {
            session_id: session.id.clone(),
            incarnation: session.incarnation.clone().into(),
            names: vec![NAME.to_owned()],
            allow_missing: false,
        };
        Self { request, client: VariableServiceClient::new(channel.clone()) }
    }
}

impl Operation for Get {
    fn run(&mut self, _number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            let read = self.client.get_variables(self.request.clone()).await?.into_inner();
            match read.variables.first().and_then(|it| it.value.as_ref()?.kind.as_ref()) {
                Some(Kind::BytesValue(value)) if value.len() == super::PAYLOAD => Ok(()),
                other => Err(failure(format!("read {other:?}"))),
            }
        })
    }
}

/// The bare rpc: a health check.
pub(super) struct Check(pub(super) HealthClient<Connected>);

impl Operation for Check {
    fn run(&mut self, _number: u64) -> BoxFuture<'_, Outcome<()>> {
        Box::pin(async move {
            self.0.check(HealthCheckRequest::default()).await?;
            Ok(())
        })
    }
}

/// The numbers of the changes that a watch tells.
pub(super) async fn watch(session: &Session) -> Outcome<BoxStream<'static, Outcome<u64>>> {
    let mut stream = session.watch(WatchMode::Every, 0).await?;
    // The state to start from.
    stream.message().await?;
    let numbers = stream.filter_map(|message| async {
        match message.map(|it| it.event) {
            Err(ended) => Some(Err(ended.into())),
            Ok(Some(Told::Changes(changes))) => {
                let value = changes.changes.into_iter().next().and_then(|it| it.variable?.value?.kind);
                let Some(Kind::BytesValue(value)) = value else { return Some(Err(failure("no bytes"))) };
                Some(super::number(&value))
            }
            Ok(_) => None,
        }
    });
    Ok(numbers.boxed())
}

/// Bytes on the wire.
pub(super) fn bytes(value: Vec<u8>) -> Value {
    Value { kind: Some(Kind::BytesValue(value.into())) }
}
