//! What each rpc takes of its caller.

use snakepit_core::{
    access::{
        Principal,
        Role::{self, Admin, CallTool, OfferTool, Read, Write},
    },
    error::Error,
    session::SessionId,
};

/// What an rpc takes of its caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rpc {
    /// One of these; none: a token, whatever its roles. The first is the one that a refusal names.
    roles: &'static [Role],
    /// Whether it is open for longer than an answer takes.
    pub(super) streams: bool,
    /// Whether the audit log has a line about each.
    pub(super) changes: bool,
}

/// Whoever has something to do in a session may open and find it.
const USERS: &[Role] = &[Read, Write, CallTool, OfferTool];
/// A worker sees there that its tools are listed.
const TOOL_USERS: &[Role] = &[CallTool, OfferTool, Read];

impl Rpc {
    /// The one table of all that this server's services answer. What is not in it is not answered: a new rpc that was
    /// forgotten here is open to nobody.
    pub(super) fn of(path: &str) -> Option<Self> {
        let unary = |roles| Some(Self { roles, streams: false, changes: false });
        let stream = |roles| Some(Self { roles, streams: true, changes: false });
        let changes = |it: Option<Self>| it.map(|it| Self { changes: true, ..it });
        match path.strip_prefix("/snakepit_bridge.v1.")? {
            "ServerService/GetServerInfo" => unary(&[]),
            // To find a live session; making one takes `write`, which the service checks.
            "SessionService/CreateSession" => changes(unary(USERS)),
            "SessionService/GetSession" => unary(USERS),
            "SessionService/ListSessions"
            | "VariableService/GetVariables"
            | "VariableService/ListVariables"
            | "VariableService/ListVariableVersions"
            | "VariableService/SyncVariables" => unary(&[Read]),
            "SessionService/DeleteSession" => changes(unary(&[Admin])),
            "VariableService/WriteVariables" => changes(unary(&[Write])),
            "VariableService/WatchVariables" => stream(&[Read]),
            "ToolService/ListTools" | "ToolService/GetTool" => unary(TOOL_USERS),
            "ToolService/CallTool" | "ToolService/CancelCall" => changes(unary(&[CallTool])),
            "ToolService/GetCall" => unary(&[CallTool]),
            "ToolService/StreamTool" => changes(stream(&[CallTool])),
            "ToolService/ServeTools" => changes(stream(&[OfferTool])),
            _ => None,
        }
    }

    /// The role that a refusal names.
    pub(super) fn wanted(self) -> &'static str {
        self.roles.first().map_or("any", |role| role.name())
    }

    /// Whether this caller has what it takes.
    pub(super) fn permits(self, principal: &Principal) -> Result<(), Error> {
        if self.roles.is_empty() || self.roles.iter().any(|role| principal.may(*role)) {
            return Ok(());
        }
        Err(Error::PermissionDenied { role: self.wanted(), session: None })
    }

    /// Whether what is told over it depends on the role `read_secret`.
    pub(super) fn tells_secrets(self) -> bool {
        self.roles.contains(&Read)
    }
}

/// What a request has to do with.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One session.
    Session(SessionId),
    /// Every session, those to come too.
    Everywhere,
}

/// Whether a principal may do what the rpc does there.
pub(super) fn enters(principal: &Principal, rpc: Rpc, place: &Place) -> Result<(), Error> {
    let (reaches, session) = match place {
        Place::Session(id) => (principal.reaches(id), id.shared()),
        Place::Everywhere => (principal.reaches_all(), "*".into()),
    };
    if reaches { Ok(()) } else { Err(Error::PermissionDenied { role: rpc.wanted(), session: Some(session) }) }
}
