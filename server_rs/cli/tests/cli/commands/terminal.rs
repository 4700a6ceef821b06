//! The command line in a terminal: tables that fit it, colours only there.

use snakepit_proto::v1::VariableType;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    command_line::{Served, objects, out},
    pty::Terminal,
    support::setup::*,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_redraws_a_table_that_fits_the_terminal_whatever_its_size() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    let long =
        "a value that goes on and on, much longer than the terminal is wide; \u{1b}[2J\n温度温度温度温度温度温度";
    session.write([register("prompt", VariableType::String, text(long))]).await;
    session.integers(["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"]).await;
    let mut terminal = Terminal::run(server.var_command(&session, &["watch"]), 40, 12);
    let first = terminal.screen(|screen| screen.iter().any(|line| line.starts_with("prompt")));
    assert!(first.len() <= 12 && first.iter().all(|line| line.width() <= 40), "{first:?}");
    assert!(first[0].starts_with("NAME") && first.iter().any(|line| line.contains('…')), "{first:?}");

    terminal.forget();
    session.write([set("n7", int(42))]).await;
    let changed = terminal.screen(|screen| screen.iter().any(|line| line.starts_with("n7") && line.contains("42")));
    assert!(changed.last().unwrap().starts_with("1 changes, revision 4"), "{changed:?}");

    terminal.forget();
    terminal.resize(100, 6);
    let resized = terminal.screen(|screen| screen.len() <= 6);
    assert!(resized.iter().any(|line| line.width() > 40) && resized.iter().all(|line| line.width() <= 100));
    assert!(resized.iter().any(|line| line.starts_with("n7")), "the one that changed stays in sight: {resized:?}");
    assert!(resized.iter().any(|line| line.starts_with("and ")), "{resized:?}");

    terminal.forget();
    session.write([delete("prompt")]).await;
    terminal
        .screen(|screen| screen.iter().any(|line| line.starts_with("n0")) && screen.last().unwrap().starts_with('2'));
    terminal.resize(1, 1);
    terminal.screen(|screen| screen.iter().all(|line| line.width() <= 1));
    terminal.signal("-INT");
    let (written, code) = terminal.ended();
    assert_eq!(code, Some(0));
    assert!(written.contains("\u{1b}[?1049l") && written.contains("\u{1b}[?25h"), "the screen is as it was before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_in_a_terminal_prints_lines_if_asked_for_json() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.integers(["n"]).await;
    let terminal = Terminal::run(server.var_command(&session, &["watch", "--json"]), 40, 12);
    // Stops the watch with the server, after its snapshot.
    let seen = std::thread::spawn(move || {
        let mut terminal = terminal;
        terminal.first_line();
        terminal.signal("-INT");
        terminal.ended()
    });
    let (written, code) = seen.join().unwrap();
    assert_eq!((objects(&written)[0]["name"].as_str(), code), (Some("n"), Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_terminal_would_obey_is_shown_there_and_left_alone_in_a_pipe() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.write([register("s", VariableType::String, text("two\nlines\u{1b}[2J"))]).await;
    let shown = Terminal::run(server.var_command(&session, &["get", "s"]), 80, 24).ended().0;
    assert_eq!(shown, "two\r\nlines\\u{1b}[2J\r\n");
    assert_eq!(out(&server.var(&session, &["get", "s"])), "two\nlines\u{1b}[2J\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_are_for_terminals_and_for_those_who_want_them() {
    let server = Served::start(&["--ephemeral"]);
    let session = server.session().await;
    session.integers(["n"]).await;
    assert!(!out(&server.var(&session, &["list"])).contains('\u{1b}'), "a pipe gets none");
    let listed = |no_colour: Option<&str>| {
        let mut command = server.var_command(&session, &["list"]);
        command.env_remove("NO_COLOR").envs(no_colour.map(|value| ("NO_COLOR", value)));
        Terminal::run(command, 80, 24).ended().0
    };
    assert!(listed(None).contains("\u{1b}[1m"));
    assert!(listed(Some("")).contains("\u{1b}[1m"), "an empty NO_COLOR says nothing");
    assert!(!listed(Some("1")).contains('\u{1b}'));
}
