//! The command line in a terminal of 40 columns: what does not fit is broken, and what is cut is in `--json`.

use std::process::Command;

use serde_json::Value as Json;
use snakepit_proto::v1::{
    Constraints, FloatConstraints, ToolSpec, VariableSpec, VariableType, WriteVariablesRequest,
    constraints::Kind as Limit,
};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    command_line::{Served, objects, out, snakepit},
    pty::Terminal,
    support::{setup::*, worker::*},
};

const LONG: &str = "Answer in one sentence, and say 温度 for temperature, whatever else you are asked to do.";

/// What a command prints in a narrow terminal, without colours, and the words of it.
fn narrow(command: Command) -> (Vec<String>, String) {
    let (written, _) = Terminal::run(command, 40, 24).ended();
    let plain = ["\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
        .iter()
        .fold(written, |text, colour| text.replace(colour, ""));
    let lines: Vec<_> = plain.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
    assert!(lines.iter().all(|line| line.width() <= 40), "wider than the terminal: {lines:#?}");
    let words = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    (lines, words)
}

/// The command, as it is given in a terminal and for programs.
fn both(server: &Served, session: &TestSession, arguments: &[&str]) -> (Vec<String>, String, Vec<Json>) {
    let command = || {
        let mut command = snakepit();
        command.env("SNAKEPIT_ADDRESS", &server.address).env("SNAKEPIT_SESSION", &session.id).args(arguments);
        command
    };
    let (lines, words) = narrow(command());
    let mut told = command();
    (lines, words, objects(&out(&told.arg("--json").output().unwrap())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_fit_and_what_is_cut_is_there_as_json() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session
        .write([
            register("llm_temperature", VariableType::Float, float(0.7)),
            register("a_prompt_with_a_rather_long_name", VariableType::String, text(LONG)),
        ])
        .await;
    let (lines, words, told) = both(&server, &session, &["var", "list"]);
    assert!(lines[0].starts_with("NAME") && lines.len() == 3, "a table: {lines:#?}");
    assert!(words.contains("llm_temper…") && words.contains("0.7") && words.contains('…'), "{lines:#?}");
    assert_eq!((&told[0]["name"], &told[0]["value"]), (&"a_prompt_with_a_rather_long_name".into(), &LONG.into()));
    assert!(told.iter().all(|it| ["name", "type", "version", "value"].iter().all(|key| it.get(key).is_some())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_and_sessions_are_blocks_that_lose_nothing() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.write([register("prompt", VariableType::String, text("short"))]).await;
    let why = "because the answers had become much too long for a phone";
    let set = WriteVariablesRequest { reason: why.into(), ..session.write_of([set("prompt", text(LONG))]) };
    session.send(set).await.unwrap();
    let (lines, words, told) = both(&server, &session, &["var", "history", "prompt"]);
    assert!(words.contains(why) && words.contains(LONG), "{lines:#?}");
    for version in &told {
        for fact in ["version", "kind", "value", "reason"] {
            let shown = version[fact].as_str().map_or_else(|| version[fact].to_string(), str::to_owned);
            assert!(words.contains(&shown), "no {shown:?} in {lines:#?}");
        }
        let second = &version["updated_at"].as_str().unwrap()[..19];
        assert!(words.contains(second), "no {second} in {lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.is_empty()).count(), 1, "two blocks: {lines:#?}");

    let (lines, words, told) = both(&server, &session, &["session", "list"]);
    let created = &told[0]["created_at"].as_str().unwrap()[..19];
    assert!([&*session.id, "never", created].iter().all(|fact| words.contains(fact)), "{lines:#?}");
    let (lines, words, told) = both(&server, &session, &["session", "show", &session.id]);
    let incarnation = told[0]["incarnation"].as_str().unwrap();
    assert!(words.contains(&session.id) && words.replace(' ', "").contains(incarnation), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_blocks_that_lose_nothing() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let schema = r#"{"type": "object", "required": ["city"], "properties":
        {"city": {"type": "string"}, "year_of_the_census": {"type": "integer"}, "unit": {"type": "string"}}}"#;
    let description = "Looks up how many people live in a city, by the census of a year.";
    let tool = ToolSpec { arguments_schema: schema.into(), description: description.into(), ..tool("population") };
    let _worker = TestWorker::with_room(&session, 1, [tool]).await;
    let (lines, words, told) = both(&server, &session, &["tool", "list"]);
    for fact in ["population", "session", "city [year_of_the_census] [unit]", description] {
        assert!(words.contains(fact), "no {fact:?} in {lines:#?}");
    }
    assert_eq!(told[0]["description"], description);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_doctor_break_their_lines_between_words() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let (lines, words, told) = both(&server, &session, &["status"]);
    assert!(words.contains("none: sessions end with the server"), "{lines:#?}");
    for (limit, value) in told[0]["limits"].as_object().unwrap() {
        assert!(words.contains(&format!("limit {limit}")) && words.contains(&value.to_string()), "{lines:#?}");
    }
    let (lines, words, told) = both(&server, &session, &["doctor"]);
    // Times are others each time.
    let timeless = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    for finding in told {
        let (check, what) = (finding["check"].as_str().unwrap(), finding["what"].as_str().unwrap());
        let next = finding["next"].as_str().unwrap();
        assert!(timeless(&words).contains(&timeless(&format!("{check}: {what}"))), "no {finding} in {lines:#?}");
        assert!(words.contains(next), "no {finding} in {lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_apply_would_change_is_told_whole() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let limits = FloatConstraints { max: Some(1.0), ..Default::default() };
    let spec = VariableSpec {
        constraints: Some(Constraints { kind: Some(Limit::Float(limits)) }),
        ..spec(VariableType::Float)
    };
    session
        .write([
            register_as("llm_temperature", spec, float(0.7)),
            register("kept", VariableType::String, text("as it is")),
            register("not_in_the_file", VariableType::Integer, int(1)),
        ])
        .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let prompt = format!("[variables.prompt]\ntype = 'string'\nvalue = '{LONG}'\n");
    let kept = "[variables.kept]\ntype = 'string'\nvalue = 'as the file has it, which is longer'\n";
    let temperature =
        "[variables.llm_temperature]\ntype = 'float'\nvalue = 0.7\nmax = 2.0\ndescription = 'how lively'\n";
    std::fs::write(&file, [&*prompt, kept, temperature].concat()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let mut command = snakepit();
    command.env("SNAKEPIT_ADDRESS", &server.address).args(["apply", &path, "--diff", "--session", &session.id]);
    let (lines, words) = narrow(command);
    let added = format!("+ prompt: string = \"{LONG}\"");
    let stays = "kept: keeps \"as it is\"; the file has \"as the file has it, which is longer\" (--set-values sets it)";
    let redeclared = "~ llm_temperature: description: none -> \"how lively\", max: 1.0 -> 2.0";
    for told in [&*added, stays, redeclared, "not_in_the_file: not in the file (--prune deletes it)"] {
        assert!(words.contains(told), "no {told:?} in {lines:#?}");
    }
}
