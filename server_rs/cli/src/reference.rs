//! The reference of the command line, as Markdown: what `--help` says, of every command.

use std::fmt::Write as _;

use clap::{Arg, Command};

const PREFACE: &str = "# Command line\n\nEvery command of `snakepit`, as `--help` tells it. Made by `make cli-docs` out of the binary; not to be edited.\n";

/// The page for a command and all below it.
pub(super) fn markdown(mut command: Command) -> String {
    command = command.term_width(0);
    command.build();
    let mut page = String::from(PREFACE);
    write(&mut page, &command, "", &[]);
    page
}

/// One command; `told` are the options of those above it, which it has too.
fn write(page: &mut String, command: &Command, above: &str, told: &[String]) {
    let name = format!("{above} {}", command.get_name()).trim().to_owned();
    // Writing to a String does not fail.
    let _ = write!(page, "\n## `{name}`\n");
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        let _ = write!(page, "\n{about}\n");
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(page, "\n```\n{}\n```\n", usage.trim_start_matches("Usage: ").trim());
    let subcommands: Vec<_> =
        command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help").collect();
    if !subcommands.is_empty() {
        let _ = write!(page, "\n| command | |\n|---|---|\n");
        for subcommand in &subcommands {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(page, "| `{name} {}` | {} |", subcommand.get_name(), cell(&about));
        }
    }
    let shown = |arg: &&Arg| {
        !arg.is_hide_set()
            && !told.contains(&arg.get_id().to_string())
            && !["help", "version"].contains(&arg.get_id().as_str())
    };
    let arguments: Vec<_> = command.get_arguments().filter(shown).collect();
    if !arguments.is_empty() {
        let _ = write!(page, "\n| argument | | default | environment |\n|---|---|---|---|\n");
        for argument in &arguments {
            let _ = writeln!(page, "{}", row(argument));
        }
    }
    if let Some(after) = command.get_after_help() {
        let _ = write!(page, "\n```\n{}\n```\n", after.to_string().trim_end());
    }
    let mut told = told.to_vec();
    told.extend(arguments.iter().filter(|it| it.is_global_set()).map(|it| it.get_id().to_string()));
    for subcommand in subcommands {
        write(page, subcommand, &name, &told);
    }
}

fn row(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let value = takes.then(|| {
        let names = argument.get_value_names().unwrap_or_default();
        names
            .iter()
            .map(|name| if argument.is_positional() { name.to_string() } else { format!(" {name}") })
            .collect::<String>()
    });
    let value = value.unwrap_or_default();
    let name = argument.get_long().map_or_else(|| value.clone(), |long| format!("--{long}{value}"));
    let mut help =
        argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let possible: Vec<_> = argument.get_possible_values().iter().map(|it| format!("`{}`", it.get_name())).collect();
    if takes && !possible.is_empty() {
        if !help.ends_with('.') {
            help.push('.');
        }
        let _ = write!(help, " One of {}.", possible.join(", "));
    }
    let hidden = argument.is_hide_default_value_set() || !takes;
    let defaults = argument.get_default_values().iter().map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let default = if hidden || defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(" ")) };
    let environment = argument.get_env().map(|it| format!("`{}`", it.to_string_lossy())).unwrap_or_default();
    format!("| `{}` | {} | {default} | {environment} |", cell(&name), cell(&help))
}

/// As one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
