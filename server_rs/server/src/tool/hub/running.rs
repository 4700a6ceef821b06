use std::{sync::Arc, time::Duration};

use snakepit_core::{error::Error, tool::Failure, value::Value, variable::Name};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};
use tracing::Instrument as _;

use super::Hub;
use crate::tool::{CallRecord, Ending, call::CallKey, registry::News};

/// A call that was accepted. Dropping it before its end cancels it.
pub(crate) struct Running {
    hub: Hub,
    key: CallKey,
    tool: Name,
    news: UnboundedReceiver<News>,
    deadline: Instant,
    within: Duration,
    /// As it stood when it was accepted.
    accepted: Option<CallRecord>,
    /// Until when it waits before it goes on, and how.
    pause: Option<(Instant, AfterPause)>,
    ended: bool,
}

#[derive(Clone, Copy)]
enum AfterPause {
    Retry,
    GiveUp,
}

/// What comes of a call.
pub(crate) enum Heard {
    /// The tool yielded something.
    Chunk(Value),
    /// It has ended.
    Ended(Box<(Ending, CallRecord)>),
}

impl Running {
    pub(super) fn new(
        hub: Hub,
        key: CallKey,
        tool: Name,
        news: UnboundedReceiver<News>,
        within: Duration,
        accepted: Option<CallRecord>,
    ) -> Self {
        let deadline = Instant::now() + within;
        Self { hub, key, tool, news, deadline, within, accepted, pause: None, ended: false }
    }

    /// What comes next; nothing after the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Heard {
        let mut late = false;
        loop {
            let pause = self.pause.map_or(self.deadline, |(until, _)| until);
            tokio::select! {
                biased;
                news = self.news.recv() => match news {
                    Some(News::Chunk(value)) => return Heard::Chunk(value),
                    Some(News::Ended(end)) => {
                        self.ended = true;
                        return Heard::Ended(end);
                    }
                    Some(News::Backoff(longest)) => {
                        let pause = longest.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
                        self.pause = Some((Instant::now() + pause, AfterPause::Retry));
                    }
                    Some(News::Wait(longest)) => self.pause = Some((Instant::now() + longest, AfterPause::GiveUp)),
                    // The sender goes with the end, which was told before.
                    None => std::future::pending().await,
                },
                () = tokio::time::sleep_until(self.deadline), if !late => {
                    late = true;
                    self.end(Ending::Deadline);
                }
                () = tokio::time::sleep_until(pause), if self.pause.is_some() => self.go_on(),
            }
        }
    }

    /// Follows it by a task of its own, so that its deadline holds whether or not anybody reads; it is cancelled when
    /// the receiver is dropped. What a worker may send unread is bounded by its credit.
    pub(crate) fn follow(mut self) -> UnboundedReceiver<Heard> {
        let (sender, receiver) = unbounded_channel();
        let followed = async move {
            loop {
                tokio::select! {
                    heard = self.next() => {
                        let ended = matches!(heard, Heard::Ended(_));
                        if sender.send(heard).is_err() || ended {
                            return;
                        }
                    }
                    () = sender.closed() => return,
                }
            }
        };
        tokio::spawn(followed.in_current_span());
        receiver
    }

    /// What its caller needs beside what it hears.
    pub(crate) fn caller(&self) -> Caller {
        Caller { hub: self.hub.clone(), key: self.key, tool: self.tool.clone(), within: self.within }
    }

    /// How it stood when it was accepted. Only the first time.
    pub(crate) fn accepted(&mut self) -> Option<CallRecord> {
        self.accepted.take()
    }

    fn go_on(&mut self) {
        let Some((_, how)) = self.pause.take() else { return };
        let key = self.key;
        self.hub.step(|state, now| match how {
            AfterPause::Retry => state.registry.retry(key, now),
            AfterPause::GiveUp => state.registry.give_up(key, now),
        });
    }

    fn end(&self, ending: Ending) {
        self.hub.step(|state, now| state.registry.end(self.key, ending, now));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        /// The rpc's own timer is as good as ours.
        const ABOUT: Duration = Duration::from_millis(5);

        if self.ended {
            return;
        }
        let late = Instant::now() + ABOUT >= self.deadline;
        let by = "its caller, who is gone".into();
        self.end(if late { Ending::Deadline } else { Ending::Cancelled { by } });
    }
}

/// Whoever made a call.
pub(crate) struct Caller {
    hub: Hub,
    key: CallKey,
    tool: Name,
    within: Duration,
}

impl Caller {
    /// So many chunks were read: the worker may send as many more.
    pub(crate) fn taken(&self, chunks: u32) {
        self.hub.step(|state, _| state.registry.taken(self.key, chunks));
    }

    /// The refusal that an ending is to the caller, or what the tool answered.
    pub(crate) fn told(&self, ending: Ending, record: &CallRecord) -> Result<Result<Value, Failure>, Error> {
        let (tool, call) = (self.tool.shared(), Arc::clone(&record.id));
        match ending {
            Ending::Result(value) => Ok(Ok(value)),
            Ending::Failure(failure) => Ok(Err(failure)),
            Ending::Deadline => Err(Error::CallDeadline { tool, call, within: self.within }),
            Ending::Cancelled { by } => Err(Error::CallCancelled { tool, call, by }),
            Ending::Unavailable { cause } => {
                Err(Error::ToolUnavailable { tool, call, dispatched: !record.attempts.is_empty(), cause })
            }
            Ending::Refused(error) => Err(error),
        }
    }
}
