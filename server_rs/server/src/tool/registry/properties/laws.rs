use proptest::prelude::*;

use super::{
    indexes,
    ledger::Stage,
    steps::{How, steps},
    world::World,
};
use crate::tool::call::WorkerKey;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_registry_does_what_the_naive_bookkeeping_allows(steps in steps()) {
        World::run(&steps);
    }

    #[test]
    fn every_call_ends_and_nothing_is_left_once_workers_answer_or_leave_and_pauses_pass(
        steps in steps(), answers in prop::collection::vec(0..4u8, 8),
    ) {
        let mut world = World::run(&steps);
        let mut answers = answers.into_iter().cycle();
        for round in 0.. {
            let left = world.in_stage(|stage| !matches!(stage, Stage::Ended(_)));
            if left.is_empty() && world.open().is_empty() {
                break;
            }
            assert!(round < 100, "{left:?} do not come to an end");
            for dispatch in world.open() {
                if !world.open().contains(&dispatch) {
                    continue;
                }
                match answers.next().unwrap() {
                    0 => world.answer(dispatch, How::Result),
                    1 => world.answer(dispatch, How::Failure),
                    2 => world.answer(dispatch, How::Retryable),
                    _ => world.leave(world.ledger.dispatches[&dispatch].worker),
                }
                world.compare();
            }
            for call in world.in_stage(|stage| stage == Stage::Backoff) {
                world.retry(call);
                world.compare();
            }
            for call in world.in_stage(|stage| stage == Stage::Waits) {
                world.give_up(call);
                world.compare();
            }
            world.pass(5);
        }
        for worker in world.ledger.workers.keys().copied().collect::<Vec<WorkerKey>>() {
            world.leave(worker);
            world.compare();
        }
        for _ in 0..3 {
            world.pass(600);
            world.sweep();
            world.compare();
        }
        indexes::check_empty(&world.registry);
    }
}
