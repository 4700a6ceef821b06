//! The server's own log: lines on stderr.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    time::SystemTime,
};

use serde_json::{Map, Value, map::Entry};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// With why a client's handshake failed, which tonic tells there.
const DEFAULT: &str = "info,tonic::transport::server::io_stream=debug";

/// What is logged, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct LogFlags {
    /// What is logged: a level (error, warn, info, debug, trace), or levels of parts, as in
    /// `info,snakepit_server::access=debug`, which has a line for each request.
    #[arg(long, env = "SNAKEPIT_LOG", default_value = DEFAULT, value_name = "FILTER", value_parser = filter)]
    log: String,
    /// How: for people, or one JSON object a line.
    #[arg(long, env = "SNAKEPIT_LOG_FORMAT", default_value = "human", value_name = "FORMAT")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

impl LogFlags {
    /// From now on, for the whole process.
    pub(crate) fn begin(&self) {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(parse(&self.log).unwrap_or_default())
            .with_writer(io::stderr)
            // A line that cannot be written, on a full disk say, would be told on stderr again, and end the server.
            .log_internal_errors(false);
        match self.log_format {
            Format::Human => lines.with_ansi(io::stderr().is_terminal()).init(),
            Format::Json => lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(Json).init(),
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    match parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(problem) => Err(format!(
            "{problem}; it takes levels, for all or for parts: info, or warn,snakepit_server=debug,tonic=off"
        )),
    }
}

/// Of what is empty the default: so is a variable that a shell was told to forget.
fn parse(text: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(if text.trim().is_empty() { DEFAULT } else { text })
}

/// One JSON object a line: what the event says, then what is known of the request on whose behalf it does, on one level.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let about = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".into(), prost_types::Timestamp::from(SystemTime::now()).to_string().into());
        line.insert("level".into(), about.level().as_str().into());
        line.insert("target".into(), about.target().into());
        let mut said = String::new();
        context.format_fields(Writer::new(&mut said), event)?;
        add(&mut line, &said);
        // From the innermost: where two say the same, the nearest is right.
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                add(&mut line, fields);
            }
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Adds fields that the line does not have yet.
fn add(line: &mut Map<String, Value>, fields: &str) {
    let Ok(Value::Object(fields)) = serde_json::from_str(fields) else { return };
    for (name, value) in fields {
        if let Entry::Vacant(free) = line.entry(name) {
            free.insert(value);
        }
    }
}
