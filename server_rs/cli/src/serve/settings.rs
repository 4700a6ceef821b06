//! What a server would run with, and where each setting comes from.

use std::io;

use clap::{ArgMatches, Command, parser::ValueSource};

use crate::output::terminal;

/// Prints every setting of a command as TOML, with what is said of defaults that clap does not know.
pub(crate) fn print(command: &Command, matches: &ArgMatches, defaults: &[(&str, u64)]) -> io::Result<()> {
    let arguments = command.get_arguments().filter(|it| it.get_env().is_some());
    let lines: Vec<_> = arguments
        .map(|argument| {
            let id = argument.get_id().as_str();
            let given = matches.get_raw(id).and_then(|mut values| values.next());
            let given = if argument.get_action().takes_values() {
                given.map(|value| value.to_string_lossy().into_owned())
            } else {
                Some(matches.get_flag(id).to_string())
            };
            let known = defaults.iter().find(|(name, _)| *name == id).map(|(_, value)| value.to_string());
            let value = given.or(known).map_or_else(|| "\"\"".to_owned(), |value| toml_of(&value));
            let environment = argument.get_env().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
            let origin = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => format!("--{}", argument.get_long().unwrap_or(id)),
                Some(ValueSource::EnvVariable) => environment,
                Some(_) | None => "default".to_owned(),
            };
            (format!("{id} = {value}"), origin)
        })
        .collect();
    let width = lines.iter().map(|(setting, _)| setting.len()).max().unwrap_or_default();
    lines.iter().try_for_each(|(setting, origin)| terminal::line(&format!("{setting:width$}  # {origin}")))
}

/// Numbers and booleans as they are, all else as text.
fn toml_of(value: &str) -> String {
    let number = value.parse::<i64>().is_ok() || value.parse::<f64>().is_ok_and(f64::is_finite) && value.contains('.');
    if number || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    // JSON writes it as TOML does.
    serde_json::Value::from(value).to_string()
}
