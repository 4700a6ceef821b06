//! What commands about one session have in common.

use crate::{
    Failure,
    remote::{Remote, client::At},
};

/// Which session, where, and how to print.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InSession {
    #[command(flatten)]
    at: At,
    /// The session, which has to exist.
    #[arg(
        long,
        global = true,
        env = "SNAKEPIT_SESSION",
        default_value = "",
        hide_default_value = true,
        value_name = "ID"
    )]
    session: String,
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    json: bool,
}

/// A session on a server.
pub(crate) struct Held {
    pub(crate) remote: Remote,
    pub(crate) session: String,
    pub(crate) json: bool,
}

impl InSession {
    pub(crate) async fn open(self) -> Result<Held, Failure> {
        let Self { at, session, json } = self;
        if session.is_empty() {
            return Err(Failure::failed("which session? say it with --session ID or SNAKEPIT_SESSION"));
        }
        Ok(Held { remote: Remote::connect(&at).await?, session, json })
    }
}
