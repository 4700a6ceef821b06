//! A watcher: follows a session to its end, across every break, fast or slowly, and writes down what it is told.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use snakepit_proto::v1::{WatchMode, WatchVariablesRequest};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tonic::Status;

use crate::{
    client::Shared,
    history::{End, Message, Stream, Watch, tick},
    rpc::refusal,
};

/// How long a watch may take to open, and how long it may take at the end to tell what is left.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the history is, for those who watch it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The clients have done what they wanted.
    pub clients_done: bool,
    /// The last revision, once it is known: the watch ends there.
    pub last: Option<u64>,
}

/// Follows the session from a revision, or from its state on, until the last revision was told.
pub async fn follow(
    shared: Arc<Shared>,
    who: String,
    mut watch: Watch,
    mut known: u64,
    mut progress: watch::Receiver<Progress>,
    mut random: Rng,
) -> Watch {
    // A slow one lets everything pass before it reads on, or takes its time for each message.
    let mut holds = watch.slow && random.bool();
    let mut give_up = None;
    loop {
        shared.board.waits(&who, "the server");
        shared.links.up().await;
        let mut stream = Stream { opened: tick(), known, ..Stream::default() };
        shared.board.waits(&who, format!("a watch from {known} to open"));
        let opening = open(&shared, &watch, known);
        let end = match timeout(PATIENCE, opening).await {
            Err(_) => End::Stuck,
            Ok(Err(status)) => end_of(&status),
            Ok(Ok(mut messages)) => loop {
                if stream.messages.is_empty() {
                    shared.board.waits(&who, format!("more than {known}"));
                }
                if progress.borrow_and_update().last.is_some_and(|last| known >= last) {
                    break End::Done;
                }
                if give_up.is_none() && progress.borrow().last.is_some() {
                    give_up = Some(Instant::now() + PATIENCE);
                }
                if watch.slow && !stream.messages.is_empty() {
                    if holds {
                        // A server that stops waits for whoever does not read.
                        tokio::select! {
                            _gone = progress.wait_for(|it| it.clients_done) => {}
                            () = shared.links.away() => {}
                        }
                        holds = false;
                    } else if !progress.borrow().clients_done {
                        tokio::time::sleep(Duration::from_millis(random.u64(1..30))).await;
                    }
                }
                let stuck = give_up.unwrap_or_else(|| Instant::now() + 10 * PATIENCE);
                tokio::select! {
                    message = messages.message() => match message {
                        Ok(Some(message)) => {
                            shared.board.step();
                            known = known.max(message.revision);
                            stream.messages.push(Message { at: tick(), message });
                        }
                        Ok(None) => break End::Lost,
                        Err(status) => break end_of(&status),
                    },
                    changed = progress.changed() => if changed.is_err() { break End::Stuck },
                    () = tokio::time::sleep_until(stuck) => break End::Stuck,
                }
            },
        };
        stream.end = end.clone();
        watch.streams.push(stream);
        if !matches!(end, End::Lost) || give_up.is_some_and(|give_up| give_up < Instant::now()) {
            shared.board.done(&who);
            return watch;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await;
    }
}

async fn open(
    shared: &Shared,
    watch: &Watch,
    known_revision: u64,
) -> Result<tonic::Streaming<snakepit_proto::v1::WatchVariablesResponse>, Status> {
    let mode = if watch.latest { WatchMode::Latest } else { WatchMode::Every };
    let request = WatchVariablesRequest {
        session_id: shared.session.clone(),
        incarnation: shared.incarnation.clone(),
        mode: mode.into(),
        names: watch.names.clone(),
        known_revision,
        ..WatchVariablesRequest::default()
    };
    Ok(shared.links.watching(watch.slow).watch_variables(request).await?.into_inner())
}

fn end_of(status: &Status) -> End {
    refusal(status).map_or(End::Lost, End::Refused)
}
