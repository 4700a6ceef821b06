//! Watches. Each stream is pulled by its reader: what a slow one has not asked for is not there yet, so it costs a
//! cursor and nobody waits for it.

mod scope;

use std::{borrow::Borrow, collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use async_stream::try_stream;
use futures_util::Stream;
use prost::{Message as _, bytes::Bytes};
use snakepit_core::{
    access::Role,
    error::Error,
    session::{Behind, Body, Event, Filter, Incarnation, State, Sync},
};
use snakepit_fault::injected;
use snakepit_proto::{
    Refusal,
    v1::{
        Changes, Heartbeat, Snapshot, WatchMode, WatchVariablesRequest, WatchVariablesResponse,
        watch_variables_response::Event as Told,
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    metrics::{Mode, OpenWatch},
    service::{context::Serving, convert, middleware::caller::Caller},
    store::{Clock, Watcher},
};
use scope::{Scope, parts};

/// A watch's messages.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<WatchVariablesResponse, Status>> + Send>>;

/// The revision of this life up to which a client knows its names; none if it has to be told everything.
pub(super) fn known(state: &State, life: Option<Incarnation>, revision: u64) -> Result<Option<u64>, Refusal> {
    if revision == 0 || life.is_some_and(|life| life != state.incarnation) {
        return Ok(None);
    }
    if revision > state.revision {
        let problem = format!("{revision} lies in the future: the session is at {}", state.revision);
        return Err(at(state, Error::invalid("known_revision", problem)));
    }
    Ok(Some(revision))
}

/// Opens a watch. What is refused before its first message is refused here.
pub(super) async fn open(
    serving: &Serving,
    request: WatchVariablesRequest,
    caller: &Caller,
) -> Result<Responses, Refusal> {
    let id = caller.session(&request.session_id)?;
    let life = convert::incarnation(&request.incarnation)?;
    let unknown = |_| Error::invalid("mode", format!("{} is no mode of this protocol version", request.mode));
    let mode = WatchMode::try_from(request.mode).map_err(unknown)?;
    convert::check_names("names", &request.names)?;
    convert::check_names("new_names", &request.new_names)?;
    let mut watcher = serving.store.watch(&id).await?;
    let state = watcher.current()?;
    let known = known(&state, life, request.known_revision)?;
    let (_, incarnation) = convert::position(state.position());
    let counted = if mode == WatchMode::Every { Mode::Every } else { Mode::Latest };
    let follow = Follow {
        watcher,
        incarnation,
        stopping: serving.stopping.clone(),
        heartbeat: serving.heartbeat,
        next_beat: Instant::now(),
        message_bytes: serving.store.limits().message_bytes,
        secrets: caller.may(Role::ReadSecret),
        counted: serving.metrics.watches.open(counted, state.revision),
        clock: serving.store.clock().clone(),
    };
    match mode {
        WatchMode::Unspecified => Err(Error::invalid("mode", "has to be given: latest or every").into()),
        WatchMode::Latest => {
            let scope = Scope::new(request.names, request.new_names, &request.pattern);
            Ok(Box::pin(follow.latest(known, scope)))
        }
        WatchMode::Every if !request.new_names.is_empty() => {
            Err(Error::invalid("new_names", "is for mode latest; start a new watch with a new filter").into())
        }
        WatchMode::Every if life.is_some_and(|life| life != state.incarnation) => {
            Err(at(&state, Error::SessionExpired { session: id.shared() }))
        }
        WatchMode::Every => {
            if let Some(Err(Behind::Compacted { oldest })) = known.map(|known| state.log_since(known).map(drop)) {
                return Err(at(&state, Error::Compacted { oldest }));
            }
            Ok(Box::pin(follow.every(known, Filter::new(request.names, &request.pattern))))
        }
    }
}

/// What both modes need while they wait.
struct Follow {
    watcher: Watcher,
    incarnation: Bytes,
    stopping: CancellationToken,
    heartbeat: Duration,
    /// When the stream has been quiet for long enough. At first that is at once: a resumed watch that has nothing to
    /// tell says so.
    next_beat: Instant,
    message_bytes: u64,
    secrets: bool,
    counted: OpenWatch,
    clock: Clock,
}

/// How far a watch of every change is.
struct Cursor {
    revision: u64,
    /// The events after it that were read and not yet told; empty while the session holds what comes next.
    read: VecDeque<Arc<Event>>,
}

enum Wake {
    /// There may be something to tell.
    Changed,
    /// It is time for a sign of life.
    Quiet,
}

impl Follow {
    fn latest(
        mut self,
        mut known: Option<u64>,
        scope: Scope,
    ) -> impl Stream<Item = Result<WatchVariablesResponse, Status>> + Send {
        try_stream! {
            let mut first = true;
            loop {
                let (position, mut sync) = {
                    let state = self.watcher.current()?;
                    self.counted.about(state.revision, state.last_event);
                    let sync = if first { scope.first(&state, known) } else { state.sync_matching(known, &scope.wide) };
                    (state.position(), sync)
                };
                known = Some(position.revision);
                if first || sync.full || !sync.changed.is_empty() || !sync.absent.is_empty() {
                    for (changed, partial) in parts(std::mem::take(&mut sync.changed), self.secrets) {
                        let part = Sync { full: sync.full, changed, absent: std::mem::take(&mut sync.absent) };
                        let told = Told::Latest(convert::sync(position, part, self.secrets));
                        yield self.tell(position.revision, told, partial);
                    }
                }
                first = false;
                while let Wake::Quiet = self.wait().await? {
                    yield self.tell(position.revision, Told::Heartbeat(Heartbeat {}), false);
                }
            }
        }
    }

    fn every(
        mut self,
        known: Option<u64>,
        filter: Filter,
    ) -> impl Stream<Item = Result<WatchVariablesResponse, Status>> + Send {
        try_stream! {
            let mut cursor = Cursor { revision: known.unwrap_or_default(), read: VecDeque::new() };
            if known.is_none() {
                let all = {
                    let state = self.watcher.current()?;
                    cursor.revision = state.revision;
                    state.variables().filter(|variable| filter.matches(&variable.name)).cloned().collect()
                };
                for (part, partial) in parts(all, self.secrets) {
                    let variables = part.iter().map(|variable| convert::variable(variable, self.secrets)).collect();
                    yield self.tell(cursor.revision, Told::Snapshot(Snapshot { variables }), partial);
                }
            }
            loop {
                if self.stopping.is_cancelled() {
                    Err(Refusal::from(Error::Stopping))?;
                }
                if let Some(changes) = self.next_changes(&mut cursor, &filter).await? {
                    yield self.tell(cursor.revision, Told::Changes(changes), false);
                } else if let Wake::Quiet = self.wait().await? {
                    yield self.tell(cursor.revision, Told::Heartbeat(Heartbeat {}), false);
                }
            }
        }
    }

    /// What the next revision after the cursor that is of interest changed; moves the cursor there, past those that are
    /// of none.
    async fn next_changes(&mut self, cursor: &mut Cursor, filter: &Filter) -> Result<Option<Changes>, Refusal> {
        loop {
            let state = self.watcher.current()?;
            if cursor.read.is_empty() {
                match state.log_since(cursor.revision) {
                    Ok(events) => return self.first_of_interest(&state, events, &mut cursor.revision, filter),
                    Err(Behind::Compacted { oldest }) => return Err(at(&state, Error::Compacted { oldest })),
                    Err(Behind::Unheld) => {
                        cursor.read = self.watcher.events_after(&state, cursor.revision).await?.into();
                    }
                }
            }
            if cursor.read.is_empty() {
                return Ok(None);
            }
            let read = std::iter::from_fn(|| cursor.read.pop_front());
            if let Some(changes) = self.first_of_interest(&state, read, &mut cursor.revision, filter)? {
                return Ok(Some(changes));
            }
        }
    }

    /// What the first of some events that is of interest changed; moves the cursor past those that were looked at.
    fn first_of_interest(
        &mut self,
        state: &State,
        events: impl IntoIterator<Item = impl Borrow<Arc<Event>>>,
        cursor: &mut u64,
        filter: &Filter,
    ) -> Result<Option<Changes>, Refusal> {
        for event in events {
            let event: &Arc<Event> = event.borrow();
            *cursor = event.position.revision;
            if injected!(DropChange) && state.revision > *cursor + 2 {
                continue;
            }
            let Body::Written(changes) = &event.body else { continue };
            let matching = changes.iter().filter(|change| filter.matches(&change.name));
            let changes: Vec<_> = matching.map(|change| convert::change(state, event, change, self.secrets)).collect();
            if changes.is_empty() {
                continue;
            }
            let changes = Changes { changes };
            self.counted.about(event.position.revision, event.time);
            // A revision is never split.
            if changes.encoded_len() as u64 > self.message_bytes {
                return Err(at(state, Error::LimitExceeded { limit: "message_bytes", max: self.message_bytes }));
            }
            return Ok(Some(changes));
        }
        Ok(None)
    }

    fn tell(&mut self, revision: u64, told: Told, partial: bool) -> WatchVariablesResponse {
        self.next_beat = Instant::now() + self.heartbeat;
        match told {
            Told::Heartbeat(_) => self.counted.told_heartbeat(),
            Told::Latest(_) | Told::Snapshot(_) | Told::Changes(_) => {
                self.counted.told_change(partial, self.clock.now());
            }
        }
        WatchVariablesResponse { revision, incarnation: self.incarnation.clone(), event: Some(told), partial }
    }

    async fn wait(&mut self) -> Result<Wake, Refusal> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Error::Stopping.into()),
            // Before changes: those that the filter drops must not keep the stream silent.
            () = tokio::time::sleep_until(self.next_beat) => Ok(Wake::Quiet),
            () = self.watcher.changed() => Ok(Wake::Changed),
        }
    }
}

fn at(state: &State, error: Error) -> Refusal {
    Refusal { error, position: Some(state.position()), operation: None }
}
