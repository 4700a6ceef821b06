//! Calls that yield: order, credit, and what holds whom back.

use snakepit_proto::v1::{
    Call, CallAccepted, CallState, CallToolRequest, StreamToolResponse, ToolSpec, Value,
    serve_tools_response::Event as Told, stream_tool_response::Event, value::Kind,
};
use tonic::{Code, Streaming};

use crate::support::{
    caller::*,
    clock::{Frozen, pass_over},
    setup::*,
    worker::*,
};

fn streaming(name: &str) -> ToolSpec {
    ToolSpec { streaming: true, ..tool(name) }
}

async fn next(stream: &mut Streaming<StreamToolResponse>) -> StreamToolResponse {
    stream.message().await.unwrap().unwrap()
}

/// The first message, which has to say that the call was accepted.
async fn accepted(stream: &mut Streaming<StreamToolResponse>) -> Call {
    let first = next(stream).await;
    assert_eq!(first.event, Some(Event::Accepted(CallAccepted {})));
    first.call.unwrap()
}

async fn chunk(stream: &mut Streaming<StreamToolResponse>) -> (u64, Value) {
    let message = next(stream).await;
    let Some(Event::Chunk(value)) = message.event else { panic!("{message:?} is no chunk") };
    (message.sequence, value)
}

/// So many kilobytes, of which one can be told from another.
fn big(kilobytes: usize, number: u8) -> Value {
    of(Kind::BytesValue(vec![number; kilobytes * 1024].into()))
}

#[tokio::test]
async fn chunks_come_in_order_between_the_acceptance_and_the_result() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [streaming("count")]).await;
    let request = CallToolRequest { call_id: "c".into(), ..session.call_of("count", None) };
    let mut stream = session.stream(request).await.unwrap();
    let call = accepted(&mut stream).await;
    assert_eq!((&*call.call_id, &*call.tool), ("c", "count"));
    let dispatch = worker.dispatch().await;
    assert_eq!(dispatch.chunk_credit, 8);
    let mut credit = dispatch.chunk_credit;
    for number in 0..100 {
        if credit == 0 {
            credit += worker.credit(&dispatch).await;
        }
        worker.yields(&dispatch, number, int(number.cast_signed()));
        credit -= 1;
        assert_eq!(chunk(&mut stream).await, (number, int(number.cast_signed())));
    }
    worker.returns(&dispatch, text("done"));
    let last = next(&mut stream).await;
    assert_eq!((last.event, last.sequence), (Some(Event::Result(text("done"))), 100));
    assert_eq!(last.call.unwrap().state(), CallState::Result);
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn who_wants_no_chunks_gets_only_the_result() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [streaming("count"), tool("plain")]).await;
    let call = session.calling("count", None);
    let dispatch = worker.dispatch().await;
    assert_eq!(dispatch.chunk_credit, 0);
    worker.returns(&dispatch, int(1));
    result(call).await;
    let mut stream = session.stream(session.call_of("plain", None)).await.unwrap();
    accepted(&mut stream).await;
    let dispatch = worker.dispatch().await;
    assert_eq!(dispatch.chunk_credit, 0, "it yields none");
    worker.returns(&dispatch, int(2));
    assert_eq!(next(&mut stream).await.event, Some(Event::Result(int(2))));
}

#[tokio::test]
async fn a_failure_after_chunks_is_the_end_and_nothing_is_tried_again() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [ToolSpec { streaming: true, ..idempotent("t") }]).await;
    let mut stream = session.stream(session.call_of("t", None)).await.unwrap();
    accepted(&mut stream).await;
    let first = worker.dispatch().await;
    worker.fails(&first, failure(true));
    let second = worker.dispatch().await;
    assert_eq!(second.attempt, 2, "before the first chunk it is");
    worker.yields(&second, 0, int(1));
    assert_eq!(chunk(&mut stream).await, (0, int(1)));
    worker.fails(&second, failure(true));
    let last = next(&mut stream).await;
    assert_eq!(last.event, Some(Event::Failure(failure(true))));
    assert_eq!(last.call.unwrap().attempts.len(), 2);
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_worker_lost_after_chunks_is_told_after_them() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [ToolSpec { streaming: true, ..idempotent("t") }]).await;
    let mut stream = session.stream(session.call_of("t", None)).await.unwrap();
    accepted(&mut stream).await;
    let dispatch = worker.dispatch().await;
    worker.yields(&dispatch, 0, int(1));
    assert_eq!(chunk(&mut stream).await, (0, int(1)));
    drop(worker);
    let refused = refused(stream.message().await);
    assert_eq!((&*refused.reason, refused.fact("dispatched")), ("TOOL_UNAVAILABLE", "true"));
}

#[tokio::test]
async fn a_worker_that_sends_what_it_may_not_loses_its_stream() {
    let server = TestServer::start().await;
    for (name, sequences, field) in [
        ("beyond its credit", (0..9).collect::<Vec<_>>(), "chunk"),
        ("out of order", vec![1], "chunk.sequence"),
        ("twice", vec![0, 0], "chunk.sequence"),
        ("of a call that wants none", vec![0], "chunk"),
        ("of another's dispatch", vec![0], "chunk.dispatch"),
    ] {
        let session = server.session().await;
        let mut worker = TestWorker::with_room(&session, 5, [streaming("t")]).await;
        let mut other = TestWorker::with_room(&session, 5, [streaming("u")]).await;
        let others = tokio::spawn({
            let session = session.clone();
            async move { session.stream(session.call_of("u", None)).await.map(drop) }
        });
        let of_other = other.dispatch().await;
        let (stream, unary) = if name == "of a call that wants none" {
            (None, Some(session.calling("t", None)))
        } else {
            (Some(session.stream(session.call_of("t", None)).await.unwrap()), None)
        };
        let dispatch = worker.dispatch().await;
        let wrong = if name == "of another's dispatch" { &of_other } else { &dispatch };
        for sequence in sequences {
            worker.yields(wrong, sequence, int(1));
        }
        let end = refused(Err::<(), _>(worker.end().await));
        assert_eq!((&*end.reason, end.fact("field")), ("INVALID_REQUEST", field), "{name}");
        if let Some(unary) = unary {
            assert_eq!(refused(unary.await.unwrap()).reason, "TOOL_UNAVAILABLE");
        }
        if let Some(mut stream) = stream {
            let end = loop {
                match stream.message().await {
                    Ok(message) => assert!(message.is_some(), "{name}"),
                    Err(status) => break status,
                }
            };
            assert_eq!(refused(Err::<(), _>(end)).reason, "TOOL_UNAVAILABLE", "{name}");
        }
        session.tool("u").await.unwrap();
        drop(others.await.unwrap());
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_worker_back_and_nobody_else() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [streaming("t"), tool("plain")]).await;
    let reader = session.elsewhere(&server).await;
    let mut stream = reader.stream(session.call_of("t", None)).await.unwrap();
    let dispatch = worker.dispatch().await;
    let (mut credit, mut sent) = (dispatch.chunk_credit, 0);
    // A megabyte each: more than what connections hold on the way.
    let mut answered = 0;
    while answered < 3 {
        if credit > 0 {
            worker.yields(&dispatch, sent, big(1024, u8::try_from(sent).unwrap()));
            (credit, sent) = (credit - 1, sent + 1);
            continue;
        }
        // Whoever has something to tell would have told it by then.
        let call = session.calling("plain", None);
        match worker.next().await.unwrap() {
            Told::Dispatch(plain) => {
                worker.returns(&plain, int(1));
                answered += 1;
            }
            Told::Credit(more) => {
                credit += more.chunks;
                let plain = worker.dispatch().await;
                worker.returns(&plain, int(1));
            }
            other => panic!("{other:?}"),
        }
        result(call).await;
    }
    assert!((8..24).contains(&sent), "{sent} were let through");
    accepted(&mut stream).await;
    for number in 0..40 {
        if number == sent {
            while credit == 0 {
                credit += worker.credit(&dispatch).await;
            }
            worker.yields(&dispatch, sent, big(1024, u8::try_from(sent).unwrap()));
            (credit, sent) = (credit - 1, sent + 1);
        }
        assert!(chunk(&mut stream).await == (number, big(1024, u8::try_from(number).unwrap())), "{number}");
    }
    drop(stream);
    loop {
        match worker.next().await.unwrap() {
            Told::Credit(_) => {}
            Told::Cancel(cancel) => {
                assert_eq!(cancel.dispatch, dispatch.dispatch, "a reader that is gone has its call cancelled");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_streams_deadline_holds_even_if_its_caller_never_reads() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [streaming("t")]).await;
    let reader = session.elsewhere(&server).await;
    let long = CallToolRequest { timeout: seconds(600), ..session.call_of("t", None) };
    let _unread = reader.stream(long).await.unwrap();
    let first = worker.dispatch().await;
    // The connection takes no more from then on.
    for number in 0..8 {
        worker.yields(&first, number, big(1024, 0));
    }
    let request = CallToolRequest { call_id: "c".into(), timeout: seconds(5), ..session.call_of("t", None) };
    let _stream = reader.stream(request).await.unwrap();
    let second = worker.dispatch().await;
    pass_over(5).await;
    loop {
        match worker.next().await.unwrap() {
            Told::Credit(_) => {}
            Told::Cancel(cancel) => {
                assert_eq!(cancel.dispatch, second.dispatch);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(session.call("c").await.unwrap().state(), CallState::Deadline);
}

#[tokio::test]
async fn the_deadline_of_a_stream_is_told_after_its_chunks_and_cancels_it() {
    let _clock = Frozen::clock();
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::offering(&session, [streaming("t")]).await;
    let mut stream = session.stream(session.call_of("t", None)).await.unwrap();
    accepted(&mut stream).await;
    let dispatch = worker.dispatch().await;
    worker.yields(&dispatch, 0, int(1));
    assert_eq!(chunk(&mut stream).await, (0, int(1)));
    pass_over(10).await;
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    worker.cancelled(&dispatch).await;
    worker.yields(&dispatch, 1, int(2));
    worker.returns(&dispatch, int(3));
    session.until("t", |shown| shown.stats.as_ref().unwrap().late == 1).await;
}

#[tokio::test]
async fn a_stream_is_accepted_with_its_call_even_if_it_ends_at_once() {
    let server = TestServer::start().await;
    let session = server.session().await;
    let mut worker = TestWorker::with_room(&session, 1, [streaming("t")]).await;
    for _ in 0..20 {
        let opening = tokio::spawn({
            let session = session.clone();
            async move { session.stream(session.call_of("t", None)).await.unwrap() }
        });
        let dispatch = worker.dispatch().await;
        worker.returns(&dispatch, int(1));
        let mut stream = opening.await.unwrap();
        assert_eq!(accepted(&mut stream).await.call_id, dispatch.call_id);
        assert_eq!(next(&mut stream).await.event, Some(Event::Result(int(1))));
    }
}
