use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::Model;
use crate::testing::commands::{content, run, steps};
use crate::{
    error::Error,
    session::{Answer, Body, Refused, Slot},
    testing::session::Session,
};

/// The answer in the model's words.
pub(super) fn told(result: &Result<Answer, Refused>) -> Result<String, String> {
    match result {
        Ok(Answer::Created { created }) => Ok(format!("created {created}")),
        Ok(Answer::Ended(position)) => Ok(format!("ended {}", position.revision)),
        Ok(Answer::Written(written)) => {
            let outcome =
                |it: &crate::session::Outcome| format!(" {} {} {} {:?}", it.name, it.changed, it.version, it.value);
            Ok(format!(
                "written {}{}",
                written.position.revision,
                written.outcomes.iter().map(outcome).collect::<String>()
            ))
        }
        Err(Refused { error, operation }) => {
            let index = operation.map_or(String::new(), |index| format!("{index} "));
            Err(index + &why(error))
        }
    }
}

fn why(error: &Error) -> String {
    match error {
        Error::SessionNotFound { .. } => "NO SESSION".into(),
        Error::SessionExpired { .. } => "EXPIRED".into(),
        Error::VariableNotFound { .. } => "NO VARIABLE".into(),
        Error::VariableExists { .. } => "EXISTS".into(),
        Error::VariableReadOnly { .. } => "READ ONLY".into(),
        Error::TypeMismatch { .. } => "TYPE".into(),
        Error::ConstraintViolated { .. } => "CONSTRAINT".into(),
        Error::PermissionDenied { .. } => "DENIED".into(),
        Error::InvalidRequest { field, .. } => format!("INVALID {field}"),
        Error::LimitExceeded { limit, .. } => format!("LIMIT {limit}"),
        Error::VersionConflict { expected, actual, .. } => format!("CONFLICT {expected} {actual}"),
        other => panic!("{other:?}"),
    }
}

/// The session's variables and the model's, in one shape.
fn both(session: &Session, model: &Model) -> [BTreeMap<String, String>; 2] {
    let shown = |kind: &dyn std::fmt::Display, value: &dyn std::fmt::Debug, version, revision| {
        format!("{kind} {value:?} {version} {revision}")
    };
    let real = match &session.slot {
        Slot::Live(state) => state
            .variables()
            .map(|it| (it.name.to_string(), shown(&it.spec.description, &it.value, it.version, it.revision)))
            .collect(),
        Slot::Vacant | Slot::Ended(_) => BTreeMap::new(),
    };
    let held = model.held();
    [real, held.iter().map(|(name, it)| (name.clone(), shown(&it.kind, &it.value, it.version, it.revision))).collect()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_session_does_what_the_naive_model_does(steps in steps()) {
        let mut model = Model::default();
        run(&steps, |step, result, session| {
            let now = i64::try_from(session.now.0 / 1_000_000).unwrap();
            assert_eq!(told(&result), model.run(now, step.admin, &step.command), "{step:?}");
            let [real, modelled] = both(session, &model);
            assert_eq!(real, modelled);
            if let Slot::Live(state) = &session.slot {
                assert_eq!(Some(state.revision), model.revision());
                assert_eq!(state.len(), modelled.len());
                assert_eq!(state.value_bytes(), state.variables().map(|it| it.spec.counted(&it.value)).sum::<u64>());
            }
        });
    }

    #[test]
    fn what_is_refused_or_changes_nothing_leaves_no_trace(steps in steps()) {
        let mut before = (BTreeMap::new(), 0);
        run(&steps, |_, result, session| {
            let after = (content(&session.slot), session.events.len());
            let committed = after.1 > before.1;
            if let Ok(Answer::Written(written)) = &result && committed {
                assert!(written.outcomes.iter().any(|outcome| outcome.changed));
            }
            assert!(committed || after == before, "{result:?}");
            assert!(result.is_ok() || !committed);
            before = after;
        });
    }

    #[test]
    fn versions_of_a_name_and_revisions_of_a_life_only_rise(steps in steps()) {
        let session = run(&steps, |_, _, _| ());
        let (mut versions, mut revision, mut time) = (BTreeMap::new(), 0, None);
        for event in &session.events {
            if matches!(event.body, Body::Created { .. }) {
                (versions, revision) = (BTreeMap::new(), 0);
            }
            revision += 1;
            assert_eq!(event.position.revision, revision);
            assert!(time <= Some(event.time));
            time = Some(event.time);
            if let Body::Written(changes) = &event.body {
                assert!(!changes.is_empty());
                for change in changes.iter() {
                    let last = versions.insert(change.name.clone(), change.version).unwrap_or(0);
                    assert_eq!(change.version, last + 1);
                }
            }
        }
    }
}
