//! Tools as a worker and a caller see them, through a real server.

use snakepit_server::proto::{
    CallState, CallToolRequest, CallToolResponse, DispatchFailure, DispatchResult, MapEntry, MapValue, ToolFailure,
    call_tool_response::Outcome,
};

use crate::{setup::*, worker::*};

pub fn arguments<'a>(entries: impl IntoIterator<Item = (&'a str, snakepit_server::proto::Value)>) -> Option<MapValue> {
    let entry = |(key, value): (&str, _)| MapEntry { key: key.into(), value: Some(value) };
    Some(MapValue { entries: entries.into_iter().map(entry).collect() })
}

#[tokio::test]
async fn a_call_goes_to_the_worker_and_its_result_comes_back() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("population")]).await;
    let call = session.calling("population", arguments([("city", text("Paris"))]));
    let dispatch = worker.dispatch().await;
    assert_eq!((&*dispatch.tool, dispatch.attempt), ("population", 1));
    assert_eq!(dispatch.arguments, arguments([("city", text("Paris"))]));
    worker.returns(&dispatch, int(2_102_650));
    let answer: CallToolResponse = call.await.unwrap().unwrap();
    assert_eq!(answer.outcome, Some(Outcome::Result(int(2_102_650))));
    let told = answer.call.unwrap();
    assert_eq!((told.state(), told.attempts.len(), &*told.attempts[0].worker_id), (CallState::Result, 1, &*worker.id));
}

#[tokio::test]
async fn a_failure_is_an_outcome_of_the_call() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [tool("broken")]).await;
    let call = session.calling("broken", None);
    let dispatch = worker.dispatch().await;
    let failure = ToolFailure { r#type: "ValueError".into(), message: "no".into(), ..Default::default() };
    worker.fails(&dispatch, failure.clone());
    assert_eq!(call.await.unwrap().unwrap().outcome, Some(Outcome::Failure(failure)));
}
