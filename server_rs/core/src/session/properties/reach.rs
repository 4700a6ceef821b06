use std::{cell::RefCell, collections::BTreeMap};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::machine::told;
use crate::session::{Action, Answer, Command};
use crate::testing::commands::{run, steps};

const EXPECTED: &str = "created true/created false/ended/NO SESSION/EXPIRED/NO VARIABLE/EXISTS/READ ONLY/TYPE/CONSTRAINT/\
    DENIED/CONFLICT/INVALID incarnation/INVALID idempotency_key/INVALID operations/INVALID operations.name/\
    INVALID constraints.min/INVALID items/INVALID version/LIMIT batch_operations/LIMIT value_bytes/\
    LIMIT variables_per_session/did register/did replace/did set/did increment/did append/did delete/did roll back/\
    did several/did nothing/repeated";

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Register { replace: false, .. } => "did register",
        Action::Register { replace: true, .. } => "did replace",
        Action::Set(_) => "did set",
        Action::Increment(_) => "did increment",
        Action::Append(_) => "did append",
        Action::Delete => "did delete",
        Action::Rollback { .. } => "did roll back",
    }
}

#[test]
fn the_random_commands_reach_every_answer_and_every_refusal() {
    let counts = RefCell::new(BTreeMap::<String, u32>::new());
    let mut runner = TestRunner::deterministic();
    for _ in 0..400 {
        let mut events = 0;
        run(&steps().new_tree(&mut runner).unwrap().current(), |step, result, session| {
            let mut counts = counts.borrow_mut();
            let mut count = |what: &str| *counts.entry(what.to_owned()).or_default() += 1;
            let committed = std::mem::replace(&mut events, session.events.len()) < session.events.len();
            if let (Command::Write(write), Ok(Answer::Written(written))) = (&step.command, &result) {
                let changed: Vec<_> =
                    write.operations.iter().zip(written.outcomes.iter()).filter(|(_, it)| it.changed).collect();
                match (committed, changed.len()) {
                    (false, 0) => count("did nothing"),
                    (false, _) => count("repeated"),
                    (true, 1) => count(verb(&changed[0].0.action)),
                    (true, _) => count("did several"),
                }
            } else {
                let told = told(&result).unwrap_or_else(|why| why);
                let words: Vec<_> = told.split(' ').filter(|word| word.parse::<u64>().is_err()).collect();
                count(&words.join(" "));
            }
        });
    }
    let counts = counts.into_inner();
    for expected in EXPECTED.split('/') {
        assert!(counts.get(expected) >= Some(&5), "{expected:?} is rare among {counts:?}");
    }
}
