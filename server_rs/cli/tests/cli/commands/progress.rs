//! How far a long export has come is told on a terminal, and nowhere else.

use std::{
    io::Read as _,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use snakepit_proto::v1::VariableType;

use crate::{
    command_line::{Served, snakepit},
    journal::disk::serving,
    pty::Terminal,
    support::setup::*,
};

const VARIABLES: usize = 200;

/// Many variables, of which an export is much more than a pipe holds.
async fn large(server: &Served) -> TestSession {
    let session = server.session().await;
    let long = "long ".repeat(400);
    let names: Vec<_> = (0..VARIABLES).map(|index| format!("v{index:03}")).collect();
    session.write(names.iter().map(|name| register(name, VariableType::String, text(&long)))).await;
    session
}

/// Reads little by little, so that an export takes as long as the reader likes.
fn sip(printed: &mut ChildStdout, taken: &mut Vec<u8>) {
    let mut part = [0; 512];
    let length = printed.read(&mut part).unwrap();
    assert!(length > 0, "it ended before it told anything");
    taken.extend(&part[..length]);
}

/// Runs the export twice, with stderr a pipe and, begun later, with stderr a terminal; gives what both have printed.
fn watched(export: impl Fn() -> Command, told: &str) -> [String; 2] {
    let mut piped = export().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut terminal, mut printed) = Terminal::of_stderr(export(), 80, 24);
    let mut unwatched = piped.stdout.take().unwrap();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while !terminal.sees(told, Duration::from_millis(10)) {
        sip(&mut unwatched, &mut first);
        sip(&mut printed, &mut second);
    }
    unwatched.read_to_end(&mut first).unwrap();
    printed.read_to_end(&mut second).unwrap();
    assert_eq!(ended(piped), (String::new(), Some(0)), "a pipe is told nothing");
    let (written, code) = terminal.ended();
    assert_eq!(code, Some(0));
    assert!(written.ends_with("\r\x1b[K"), "the line is cleared in the end: {written:?}");
    [first, second].map(|it| String::from_utf8(it).unwrap())
}

fn ended(child: Child) -> (String, Option<i32>) {
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_export_of_a_session_tells_a_terminal_how_far_it_is() {
    let server = Served::start(&["--ephemeral"]);
    let session = large(&server).await;
    let export = || {
        let mut command = snakepit();
        command.env("SNAKEPIT_ADDRESS", &server.address).args(["session", "export", &session.id]);
        command
    };
    let told = format!("exporting {}: ", session.id);
    let [first, second] = tokio::task::block_in_place(|| watched(export, &told));
    assert_eq!(first.lines().count(), VARIABLES + 2);
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_export_of_a_directory_tells_a_terminal_how_far_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let server = serving("127.0.0.1:0", &directory);
    large(&server).await;
    let export = || {
        let mut command = snakepit();
        command.args(["data", "export", "--data-dir"]).arg(directory.path());
        command
    };
    let [first, second] = tokio::task::block_in_place(|| watched(export, "exporting: "));
    assert_eq!(first.lines().count(), VARIABLES + 2);
    assert_eq!(first, second);
}
