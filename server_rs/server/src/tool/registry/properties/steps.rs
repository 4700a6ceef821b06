//! Random steps, dense enough to collide: few sessions, few tools, few workers, little room.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample::Index};
use snakepit_core::{
    session::{Incarnation, SessionId},
    variable::Name,
};

use crate::tool::{
    breaker::BreakerPolicy,
    call::Scope,
    registry::Policy,
    spec::{RetryPolicy, ToolSpec},
};

/// What happens. What an index is of is said where it is used.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Pass(u64),
    Join {
        scope: Scope,
        id: usize,
        max: usize,
    },
    Offer {
        worker: Index,
        tools: Vec<(usize, usize)>,
    },
    Withdraw {
        worker: Index,
        tools: Vec<usize>,
    },
    Drain {
        worker: Index,
    },
    Leave {
        worker: Index,
    },
    Accept {
        home: Scope,
        tool: usize,
        id: Option<usize>,
        chunks: bool,
        timeout: u64,
    },
    Answer {
        dispatch: Index,
        how: How,
    },
    /// By a worker that does not have it, or for what was answered before, or never was.
    AnswerAmiss {
        dispatch: Index,
        worker: Index,
    },
    Chunk {
        dispatch: Index,
    },
    ChunkAmiss {
        dispatch: Index,
        worker: Index,
        sequence: u64,
    },
    Taken {
        call: Index,
        most: u32,
    },
    End {
        call: Index,
        deadline: bool,
    },
    Retry {
        call: Index,
    },
    GiveUp {
        call: Index,
    },
    Forget {
        scope: Scope,
    },
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Result,
    Failure,
    Retryable,
}

pub(super) const TOOLS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const KINDS: usize = 6;

pub(super) fn policy() -> Policy {
    let breaker = BreakerPolicy { opens_after: 2, open_for: Duration::from_secs(30), closes_after: 2 };
    Policy { breaker, tools: 3, queued: 3, ended: 6 }
}

/// A session that is only one of three that can be called from: it has no tools of its own.
pub(super) fn guest() -> Scope {
    session("guest")
}

pub(super) fn session(name: &str) -> Scope {
    life(SessionId::parse(name).unwrap())
}

/// The only one that a session here has.
pub(super) fn life(session: SessionId) -> Scope {
    Scope::Session(session, Incarnation::try_from(&[7; 16][..]).unwrap())
}

/// One spec per kind, each with its own way to be retried and limited.
pub(super) fn spec(tool: usize, kind: usize) -> ToolSpec {
    let retry = |max_attempts| RetryPolicy {
        max_attempts,
        initial_backoff: Duration::from_secs(1),
        multiplier: 2.0,
        max_backoff: Duration::from_secs(5),
    };
    let plain = ToolSpec { description: kind.to_string(), ..ToolSpec::new(Name::parse(TOOLS[tool]).unwrap()) };
    let (seconds, once) = (Duration::from_secs, Some(1));
    match kind {
        0 => plain,
        1 => ToolSpec { idempotent: true, retry: retry(3), ..plain },
        2 => ToolSpec { idempotent: true, retry: retry(2), streaming: true, max_concurrency: once, ..plain },
        3 => ToolSpec { streaming: true, timeout: Some(seconds(8)), ..plain },
        4 => ToolSpec { idempotent: true, retry: retry(1), timeout: Some(seconds(20)), ..plain },
        _ => ToolSpec { idempotent: true, retry: retry(10), max_concurrency: Some(2), ..plain },
    }
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![3 => Just(Scope::Global), 12 => Just(session("one")), 1 => Just(session("two"))]
}

/// Mostly of the kind that goes with the tool.
fn offered() -> impl Strategy<Value = (usize, usize)> {
    (prop::sample::select(vec![0, 0, 1, 1, 2, 2, 3]), prop::bool::weighted(0.1), 0..KINDS)
        .prop_map(|(tool, other, kind)| (tool, if other { kind } else { [1, 2, 0, 3][tool] }))
}

fn offer() -> impl Strategy<Value = Step> {
    (any::<Index>(), prop::collection::vec(offered(), 1..4)).prop_map(|(worker, tools)| Step::Offer { worker, tools })
}

fn workers() -> impl Strategy<Value = Step> {
    let tools = || prop::collection::vec(0..TOOLS.len(), 1..3);
    prop_oneof![
        4 => (scope(), 0usize..5, 1usize..4).prop_map(|(scope, id, max)| Step::Join { scope, id, max }),
        14 => offer(),
        2 => (any::<Index>(), tools()).prop_map(|(worker, tools)| Step::Withdraw { worker, tools }),
        1 => any::<Index>().prop_map(|worker| Step::Drain { worker }),
        3 => any::<Index>().prop_map(|worker| Step::Leave { worker }),
    ]
}

fn answers() -> impl Strategy<Value = Step> {
    let how = prop_oneof![6 => Just(How::Result), 2 => Just(How::Failure), 6 => Just(How::Retryable)];
    let index = any::<Index>;
    prop_oneof![
        16 => (index(), how).prop_map(|(dispatch, how)| Step::Answer { dispatch, how }),
        2 => (index(), index()).prop_map(|(dispatch, worker)| Step::AnswerAmiss { dispatch, worker }),
        8 => index().prop_map(|dispatch| Step::Chunk { dispatch }),
        1 => (index(), index(), 0u64..3)
            .prop_map(|(dispatch, worker, sequence)| Step::ChunkAmiss { dispatch, worker, sequence }),
    ]
}

fn callers() -> impl Strategy<Value = Step> {
    let home = prop_oneof![12 => Just(session("one")), 1 => Just(session("two")), 2 => Just(guest())];
    let id = prop::option::weighted(0.3, 0usize..6);
    let tool = prop::sample::select(vec![0, 0, 0, 1, 1, 1, 2, 2, 3]);
    let timeout = prop::sample::select(vec![3, 8, 10, 60]);
    let accept = (home, tool, id, any::<bool>(), timeout).prop_map(|(home, tool, id, chunks, timeout)| Step::Accept {
        home,
        tool,
        id,
        chunks,
        timeout,
    });
    let index = any::<Index>;
    prop_oneof![
        24 => accept,
        3 => (index(), 1u32..5).prop_map(|(call, most)| Step::Taken { call, most }),
        6 => (index(), any::<bool>()).prop_map(|(call, deadline)| Step::End { call, deadline }),
        6 => index().prop_map(|call| Step::Retry { call }),
        3 => index().prop_map(|call| Step::GiveUp { call }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let passed = prop::sample::select(vec![0, 1, 1, 2, 2, 4, 5, 5, 10, 10, 30, 30, 30, 700]);
    prop_oneof![
        80 => callers(),
        60 => answers(),
        24 => workers(),
        20 => passed.prop_map(Step::Pass),
        1 => scope().prop_filter("only sessions end", |scope| *scope != Scope::Global)
            .prop_map(|scope| Step::Forget { scope }),
        3 => Just(Step::Sweep),
    ]
}

/// Some workers with something to offer, and what else comes.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let first = prop::collection::vec((scope(), 0usize..5, 1usize..4, offer()), 2..6);
    (first, prop::collection::vec(step(), 1..200)).prop_map(|(first, rest)| {
        let first = first.into_iter().flat_map(|(scope, id, max, offer)| [Step::Join { scope, id, max }, offer]);
        first.chain(rest).collect()
    })
}

pub(super) fn worker_id(id: usize) -> Arc<str> {
    format!("w{id}").into()
}
