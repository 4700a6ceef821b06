//! What the command line says of itself: settings, completions, the reference.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::command_line::{code, out, snakepit};

#[test]
fn every_setting_is_printed_with_where_it_comes_from() {
    let mut command = snakepit();
    command.args(["serve", "--print-config", "--heartbeat", "0.5", "--data-dir", "a \"b\" c"]);
    let printed = out(&command.env("SNAKEPIT_LIMIT_SESSIONS", "5").env("SNAKEPIT_EPHEMERAL", "1").output().unwrap());
    let settings: toml::Table = toml::from_str(&printed).unwrap();
    assert_eq!(settings["listen"].as_str(), Some("127.0.0.1:50051"));
    assert_eq!((settings["heartbeat"].as_float(), settings["data_dir"].as_str()), (Some(0.5), Some("a \"b\" c")));
    assert_eq!(
        (settings["limit_sessions"].as_integer(), settings["limit_batch_operations"].as_integer()),
        (Some(5), Some(256))
    );
    let origin = |name: &str| {
        let line = printed.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        line.rsplit("# ").next().unwrap().to_owned()
    };
    assert_eq!(
        (origin("heartbeat"), origin("limit_sessions")),
        ("--heartbeat".into(), "SNAKEPIT_LIMIT_SESSIONS".into())
    );
    assert_eq!((origin("ephemeral"), origin("listen")), ("SNAKEPIT_EPHEMERAL".into(), "default".into()));
    assert!(settings["ephemeral"].as_bool().unwrap() && settings["fold_events"].as_integer().is_some());
    assert_eq!(code(&snakepit().args(["serve", "--print-config", "--heartbeat", "0"]).output().unwrap()), Some(2));
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = out(&snakepit().args(["completions", shell]).output().unwrap());
        for word in ["doctor", "rollback", "expected-version", "print-config"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let script = out(&snakepit().args(["completions", "bash"]).output().unwrap());
    let ask = "\nCOMP_WORDS=(snakepit var roll); COMP_CWORD=2; _snakepit snakepit roll var; echo \"${COMPREPLY[@]}\"\n";
    let mut bash = Command::new("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all((script + ask).as_bytes()).unwrap();
    assert_eq!(String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap().trim(), "rollback");
}

#[test]
fn the_reference_is_what_the_binary_says() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let committed = std::fs::read_to_string(committed).unwrap();
    let mut command = snakepit();
    // Nothing of where it was made gets into it.
    command.env("SNAKEPIT_LISTEN", "elsewhere:1").env("COLUMNS", "40");
    assert!(committed == out(&command.arg("reference").output().unwrap()), "docs/cli.md is old: run `make cli-docs`");
    for word in ["## `snakepit var define`", "--print-config", "SNAKEPIT_LIMIT_SESSIONS", "Exit codes: 0 done"] {
        assert!(committed.contains(word), "{word}");
    }
}
