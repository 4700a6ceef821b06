//! Exports that somebody has edited: what no server could go on from is refused, and nothing of it is taken.

use serde_json::{Value as Json, json};
use snakepit_core::session::Kept;
use snakepit_proto::v1::{VariableType, value::Kind};

use crate::{
    command_line::snakepit,
    journal::{
        data::{data, done, import, piped, refused_with, rich},
        disk::{again, serving},
    },
    support::setup::*,
};

/// The export with one field of the first line that has it changed.
fn edited(export: &str, kind: &str, field: &str, value: &Json) -> String {
    let mut done = false;
    let lines = export.lines().map(|line| {
        let mut line: Json = serde_json::from_str(line).unwrap();
        if !done && line["kind"] == kind {
            let (object, field) = match field.split_once('.') {
                Some((object, field)) => (&mut line[object], field),
                None => (&mut line, field),
            };
            object[field] = value.clone();
            done = true;
        }
        line.to_string() + "\n"
    });
    let edited = lines.collect();
    assert!(done, "no line of kind {kind}");
    edited
}

#[tokio::test]
async fn an_import_that_no_server_could_go_on_from_is_refused_with_its_value() {
    let from = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &from);
    let session = rich(&server).await;
    let export = done(&data(from.path(), &["export", "--with-secrets"]));
    let labels: serde_json::Map<String, Json> = (0..65).map(|n| (n.to_string(), json!("x"))).collect();
    let too_many = Kept::MOST + 1;
    for (kind, field, value, named) in [
        ("session", "revision", json!(too_many), "4611686018427387905"),
        ("session", "revision", json!(u64::MAX), "18446744073709551615"),
        ("session", "revision", json!(0), "0"),
        ("session", "forgotten.version", json!(too_many), "4611686018427387905"),
        ("session", "forgotten.revision", json!(99), "99"),
        ("session", "last_event", json!("+12000-01-01T00:00:00Z"), "+12000-01-01"),
        ("session", "ttl", json!(1e18), "1000000000000000000"),
        ("session", "ttl", json!(0.5), "0.5"),
        ("session", "metadata", json!(labels), "65"),
        ("variable", "version", json!(u64::MAX), "18446744073709551615"),
        ("version", "version", json!(0), "0"),
        ("version", "revision", json!(98), "98"),
    ] {
        let to = tempfile::tempdir().unwrap();
        let edited = edited(&export, kind, field, &value);
        let refused = refused_with(&import(to.path(), &edited, &[]));
        assert!(refused.contains(named) && refused.contains("nothing was imported"), "{field}={value}: {refused}");
        let mut over_the_wire = snakepit();
        over_the_wire.args(["session", "import", "--address", &server.address, "--as", "other", "-"]);
        let refused = refused_with(&piped(&mut over_the_wire, &edited));
        assert!(refused.contains(named), "{field}={value}: {refused}");
        done(&import(to.path(), &export, &[]));
    }
    drop(session);
}

#[tokio::test]
async fn a_session_is_written_on_from_the_highest_revision_that_can_be_imported() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serving("127.0.0.1:0", &from);
    let session = server.session().await;
    session.write([register("n", VariableType::Integer, int(1))]).await;
    let export = done(&data(from.path(), &["export"]));
    drop(server);
    let highest = edited(&export, "session", "revision", &json!(Kept::MOST));
    let highest = edited(&highest, "variable", "version", &json!(Kept::MOST));
    done(&import(to.path(), &edited(&highest, "session", "forgotten.version", &json!(Kept::MOST)), &[]));

    let server = serving("127.0.0.1:0", &to);
    let imported = TestSession { incarnation: Vec::new(), ..again(&server, &session).await };
    let new = imported.write([set("n", int(2)), register("m", VariableType::Integer, int(0))]).await;
    assert_eq!(new.revision, Kept::MOST + 1);
    drop(server);
    let server = serving("127.0.0.1:0", &to);
    let imported = TestSession { incarnation: Vec::new(), ..again(&server, &session).await };
    assert_eq!(imported.value("n").await, Kind::Int64Value(2));
}

#[tokio::test]
async fn an_imported_value_is_one_that_its_spec_takes_whichever_line_it_is_on() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serving("127.0.0.1:0", &from);
    let session = server.session().await;
    session.write([register("f", VariableType::Float, of(Kind::DoubleValue(0.5)))]).await;
    let export = done(&data(from.path(), &["export"]));
    drop(server);
    // The newest version in a line of its own, which has no spec to be compared with.
    let line = export.lines().find(|line| line.contains("\"variable\"")).unwrap();
    let mut newer: Json = serde_json::from_str(line).unwrap();
    (newer["kind"], newer["version"], newer["value"]) = (json!("version"), json!(2), json!("half"));
    let refused = refused_with(&import(to.path(), &format!("{export}{newer}\n"), &[]));
    assert!(refused.contains("float") && refused.contains("nothing was imported"), "{refused}");

    done(&import(to.path(), &edited(&export, "variable", "value", &json!(1)), &[]));
    let server = serving("127.0.0.1:0", &to);
    let imported = TestSession { incarnation: Vec::new(), ..again(&server, &session).await };
    assert_eq!(imported.value("f").await, Kind::DoubleValue(1.0), "a whole number is a float where one belongs");
    imported.write([increment("f", 1)]).await;
}
