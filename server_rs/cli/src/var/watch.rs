use std::{future::Future, io, time::Duration};

use snakepit_proto::v1::{
    ChangeKind, Variable, WatchMode, WatchVariablesRequest, WatchVariablesResponse, watch_variables_response::Event,
};
use tonic::Streaming;

use crate::{
    Failure,
    output::terminal,
    show,
    var::{Held, live::Live},
};

/// No more often than this is the table drawn, however fast variables change.
const DRAW_EVERY: Duration = Duration::from_millis(50);

/// Shows variables as they are and every change, until interrupted.
pub(super) async fn run(held: &Held, pattern: String) -> Result<(), Failure> {
    let request = WatchVariablesRequest {
        session_id: held.session.clone(),
        mode: WatchMode::Every.into(),
        pattern,
        ..WatchVariablesRequest::default()
    };
    let messages = held.remote.answered(held.remote.variables().watch_variables(request)).await?;
    if held.json || terminal::size().is_none() {
        return tokio::select! {
            ended = lines(held, messages) => ended,
            () = interrupted() => Ok(()),
        };
    }
    table(held, messages).await
}

async fn lines(held: &Held, mut messages: Streaming<WatchVariablesResponse>) -> Result<(), Failure> {
    loop {
        let message = next(held, &mut messages).await?;
        for (variable, kind) in told(message) {
            show::change(&variable, kind)?;
        }
    }
}

async fn table(held: &Held, mut messages: Streaming<WatchVariablesResponse>) -> Result<(), Failure> {
    let mut resized = resizes()?;
    let mut live = Live::open(format!("{} at {}", held.session, held.remote.address))?;
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    let mut drawing = tokio::time::interval(DRAW_EVERY);
    drawing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stale = true;
    let ended = loop {
        tokio::select! {
            message = next(held, &mut messages) => match message {
                Ok(message) => {
                    stale = true;
                    live.revision = message.revision;
                    told(message).for_each(|(variable, kind)| live.take(variable, kind));
                }
                Err(failure) => break Err(failure),
            },
            () = resized.next() => stale = true,
            _ = drawing.tick(), if stale => {
                live.draw()?;
                stale = false;
            }
            () = &mut interrupted => break Ok(()),
        }
    };
    live.close()?;
    ended
}

async fn next(
    held: &Held,
    messages: &mut Streaming<WatchVariablesResponse>,
) -> Result<WatchVariablesResponse, Failure> {
    let message = messages.message().await.map_err(|status| held.remote.refused(&status))?;
    message.ok_or_else(|| Failure::unreachable(&held.remote.address, "the server ended the watch"))
}

/// What a message tells of variables; no kind: the state at the watch's beginning.
fn told(message: WatchVariablesResponse) -> impl Iterator<Item = (Variable, Option<ChangeKind>)> {
    let (initial, changes) = match message.event {
        Some(Event::Snapshot(snapshot)) => (snapshot.variables, Vec::new()),
        Some(Event::Changes(changes)) => (Vec::new(), changes.changes),
        Some(Event::Latest(_) | Event::Heartbeat(_)) | None => (Vec::new(), Vec::new()),
    };
    let later = changes.into_iter().map(|change| {
        let kind = change.kind();
        (change.variable.unwrap_or_default(), Some(kind))
    });
    initial.into_iter().map(|variable| (variable, None)).chain(later)
}

#[cfg(unix)]
fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};

    // Both at once, not when first waited for: whoever has seen a line may interrupt.
    let signals = signal(SignalKind::interrupt()).and_then(|one| Ok((one, signal(SignalKind::terminate())?)));
    async move {
        let Ok((mut interrupted, mut terminated)) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    drop(tokio::signal::ctrl_c().await);
}

/// Tells when the terminal's size has changed.
#[cfg(unix)]
struct Resizes(tokio::signal::unix::Signal);

#[cfg(unix)]
fn resizes() -> io::Result<Resizes> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()).map(Resizes)
}

#[cfg(unix)]
impl Resizes {
    async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Looks again now and then, where nobody tells.
#[cfg(not(unix))]
struct Resizes;

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "fails on unix")]
fn resizes() -> io::Result<Resizes> {
    Ok(Resizes)
}

#[cfg(not(unix))]
impl Resizes {
    async fn next(&mut self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
