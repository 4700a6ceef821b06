use std::collections::BTreeMap;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{steps::steps, world::World};

const EXPECTED: &str = "dispatched/dispatched to one of several/tried again by another/tried again by the same/trial/\
    breaker closed by a trial/breaker opened by a trial/breaker still half open/breaker forgotten/answered while open/\
    woken/woken, and calls waited/waits for anybody/gave up/stranded/lost/late/slow/chunk/chunk refused/chunks taken/\
    results/failures/deadlines/cancellations/unavailable/call_id/queued_calls_per_tool/replaced/tool forgotten/\
    session ended under a call/retried as another tool/offer: exists/offer: draining/offer: limit/\
    offer: unused forgotten/offer: anew, calls waited";

#[test]
fn the_random_steps_reach_whatever_can_happen() {
    let mut reached = BTreeMap::<String, u32>::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..600 {
        for (what, times) in World::run(&steps().new_tree(&mut runner).unwrap().current()).ledger.reached {
            *reached.entry(what).or_default() += times;
        }
    }
    for expected in EXPECTED.split('/') {
        assert!(reached.get(expected) >= Some(&5), "{expected:?} is rare among {reached:#?}");
    }
}
