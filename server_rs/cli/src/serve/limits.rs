use snakepit_core::config::Limits;

/// What the server accepts; beyond it a request is refused with `LIMIT_EXCEEDED`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
#[expect(clippy::struct_field_names, reason = "the fields are the flags")]
pub(crate) struct LimitFlags {
    /// Bytes of one encoded value [default: 16 MiB].
    #[arg(long, env = "SNAKEPIT_LIMIT_VALUE_BYTES", value_name = "BYTES")]
    limit_value_bytes: Option<u64>,
    /// Bytes of all current values of one session, and of its variables' descriptions, labels and constraints [default:
    /// 64 MiB].
    #[arg(long, env = "SNAKEPIT_LIMIT_SESSION_VALUE_BYTES", value_name = "BYTES")]
    limit_session_value_bytes: Option<u64>,
    /// Variables of one session [default: 1000].
    #[arg(long, env = "SNAKEPIT_LIMIT_VARIABLES_PER_SESSION", value_name = "N")]
    limit_variables_per_session: Option<u64>,
    /// Live sessions [default: 10000].
    #[arg(long, env = "SNAKEPIT_LIMIT_SESSIONS", value_name = "N")]
    limit_sessions: Option<u64>,
    /// Operations of one batch [default: 256].
    #[arg(long, env = "SNAKEPIT_LIMIT_BATCH_OPERATIONS", value_name = "N")]
    limit_batch_operations: Option<u64>,
    /// Bytes of one batch of more than one operation [default: 4 MiB].
    #[arg(long, env = "SNAKEPIT_LIMIT_BATCH_BYTES", value_name = "BYTES")]
    limit_batch_bytes: Option<u64>,
    /// Bytes of one message, either way [default: 32 MiB].
    #[arg(long, env = "SNAKEPIT_LIMIT_MESSAGE_BYTES", value_name = "BYTES")]
    limit_message_bytes: Option<u64>,
    /// Concurrent streams of one connection [default: 256].
    #[arg(long, env = "SNAKEPIT_LIMIT_STREAMS_PER_CONNECTION", value_name = "N")]
    limit_streams_per_connection: Option<u64>,
    /// Open watches of one session [default: 1000].
    #[arg(long, env = "SNAKEPIT_LIMIT_WATCHERS_PER_SESSION", value_name = "N")]
    limit_watchers_per_session: Option<u64>,
    /// Tools of one session, or global ones [default: 1000].
    #[arg(long, env = "SNAKEPIT_LIMIT_TOOLS_PER_SESSION", value_name = "N")]
    limit_tools_per_session: Option<u64>,
    /// Calls of one tool that wait for a worker [default: 1000].
    #[arg(long, env = "SNAKEPIT_LIMIT_QUEUED_CALLS_PER_TOOL", value_name = "N")]
    limit_queued_calls_per_tool: Option<u64>,
    /// Bytes of one tool's schema [default: 256 KiB].
    #[arg(long, env = "SNAKEPIT_LIMIT_TOOL_SCHEMA_BYTES", value_name = "BYTES")]
    limit_tool_schema_bytes: Option<u64>,
    /// Requests of one caller in a second, by token or certificate, else by address [default: any number].
    #[arg(long, env = "SNAKEPIT_LIMIT_REQUESTS_PER_SECOND", value_name = "N")]
    limit_requests_per_second: Option<u64>,
}

impl LimitFlags {
    /// What holds where they are not given.
    pub(crate) fn defaults() -> Vec<(&'static str, u64)> {
        let limits = Limits::default();
        vec![
            ("limit_value_bytes", limits.value_bytes),
            ("limit_session_value_bytes", limits.session_value_bytes),
            ("limit_variables_per_session", limits.variables_per_session),
            ("limit_sessions", limits.sessions),
            ("limit_batch_operations", limits.batch_operations),
            ("limit_batch_bytes", limits.batch_bytes),
            ("limit_message_bytes", limits.message_bytes),
            ("limit_streams_per_connection", limits.streams_per_connection),
            ("limit_watchers_per_session", limits.watchers_per_session),
            ("limit_tools_per_session", limits.tools_per_session),
            ("limit_queued_calls_per_tool", limits.queued_calls_per_tool),
            ("limit_tool_schema_bytes", limits.tool_schema_bytes),
            ("limit_requests_per_second", limits.requests_per_second),
        ]
    }
}

impl From<LimitFlags> for Limits {
    fn from(flags: LimitFlags) -> Self {
        let default = Self::default();
        Self {
            value_bytes: flags.limit_value_bytes.unwrap_or(default.value_bytes),
            session_value_bytes: flags.limit_session_value_bytes.unwrap_or(default.session_value_bytes),
            variables_per_session: flags.limit_variables_per_session.unwrap_or(default.variables_per_session),
            sessions: flags.limit_sessions.unwrap_or(default.sessions),
            batch_operations: flags.limit_batch_operations.unwrap_or(default.batch_operations),
            batch_bytes: flags.limit_batch_bytes.unwrap_or(default.batch_bytes),
            message_bytes: flags.limit_message_bytes.unwrap_or(default.message_bytes),
            streams_per_connection: flags.limit_streams_per_connection.unwrap_or(default.streams_per_connection),
            watchers_per_session: flags.limit_watchers_per_session.unwrap_or(default.watchers_per_session),
            tools_per_session: flags.limit_tools_per_session.unwrap_or(default.tools_per_session),
            queued_calls_per_tool: flags.limit_queued_calls_per_tool.unwrap_or(default.queued_calls_per_tool),
            tool_schema_bytes: flags.limit_tool_schema_bytes.unwrap_or(default.tool_schema_bytes),
            requests_per_second: flags.limit_requests_per_second.unwrap_or(default.requests_per_second),
        }
    }
}
