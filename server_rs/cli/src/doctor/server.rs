use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use snakepit_proto::{
    API_VERSION,
    v1::{
        CreateSessionRequest, DeleteSessionRequest, Durability, GetServerInfoRequest, GetServerInfoResponse, Session,
    },
};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    Failure,
    doctor::{Finding, Report},
    remote::{Remote, client::At, timed},
};

const REACHED_WITHIN: Duration = Duration::from_secs(3);
const PINGS: usize = 21;
/// A forward waits for one round trip.
const SLOW: Duration = Duration::from_millis(50);
/// Histories of two machines cannot be told apart in time beyond this.
const CLOCKS_APART: Duration = Duration::from_secs(1);
const HERE: &str = env!("CARGO_PKG_VERSION");

/// The server that was found.
pub(super) struct Met {
    pub(super) on_this_machine: bool,
    pub(super) durability: Durability,
}

/// Checks the way to the server and the server itself, as far as it comes.
pub(super) async fn check(at: &At, no_write: bool, report: &mut Report) -> Result<Option<Met>, Failure> {
    let (reached, on_this_machine) = reach(at).await;
    report.tell(&reached)?;
    if reached.verdict != crate::doctor::Verdict::Ok {
        return Ok(None);
    }
    let (remote, info) = match ask(at).await {
        Ok(answer) => answer,
        Err(finding) => {
            report.tell(&finding)?;
            return Ok(None);
        }
    };
    report.tell(&versions(&info))?;
    report.tell(&health(&remote).await)?;
    report.tell(&open_to(&info))?;
    report.tell(&writes(&info))?;
    report.tell(&latency(&remote).await)?;
    if !no_write && info.read_only_cause.is_empty() {
        for finding in own_session(&remote).await {
            report.tell(&finding)?;
        }
    }
    Ok(Some(Met { on_this_machine, durability: info.durability() }))
}

/// Whether something listens there, and whether it is this machine.
async fn reach(At { address, .. }: &At) -> (Finding, bool) {
    const CHECK: &str = "address";
    let from_environment = std::env::var("SNAKEPIT_ADDRESS").is_ok_and(|set| set == *address);
    let origin = if from_environment { " (from SNAKEPIT_ADDRESS)" } else { "" };
    let found = match tokio::net::lookup_host(address).await {
        Ok(found) => found.collect::<Vec<_>>(),
        Err(error) => {
            let what = format!("{address}{origin} is no address: {error}");
            return (Finding::fail(CHECK, what, "give HOST:PORT with --address or SNAKEPIT_ADDRESS"), false);
        }
    };
    let local = found.iter().all(|it| it.ip().is_loopback());
    let began = Instant::now();
    let connected = tokio::time::timeout(REACHED_WITHIN, TcpStream::connect(&found[..])).await;
    let finding = match connected {
        Ok(Ok(stream)) => {
            let here = stream.local_addr().ok().map(|it| it.ip());
            let ip = stream.peer_addr().map_or_else(|_| IpAddr::from([0, 0, 0, 0]), |it| it.ip());
            let took = began.elapsed().as_secs_f64() * 1e3;
            let own = local || here == Some(ip);
            return (Finding::ok(CHECK, format!("{address}{origin} is open, in {took:.1} ms")), own);
        }
        Ok(Err(error)) => Finding::fail(
            CHECK,
            format!("nobody listens at {address}{origin}: {error}"),
            "start a server with `snakepit serve`, or say where it is with --address or SNAKEPIT_ADDRESS",
        ),
        Err(_) => Finding::fail(
            CHECK,
            format!("{address}{origin} does not answer within {} s", REACHED_WITHIN.as_secs()),
            "see whether the machine is up and whether a firewall lets this port through",
        ),
    };
    (finding, local)
}

/// The server's facts, if what listens there is one of ours.
async fn ask(at: &At) -> Result<(Remote, GetServerInfoResponse), Finding> {
    const CHECK: &str = "server";
    let other = |problem: &str| {
        Finding::fail(
            CHECK,
            format!("what listens at {} is no server that this client can talk to ({problem})", at.address),
            "see what runs there; if it is one that wants TLS or a token, say so as `snakepit status --help` tells",
        )
    };
    let remote = Remote::connect(at).await.map_err(|failure| other(&failure.to_string()))?;
    match remote.server().get_server_info(timed(GetServerInfoRequest {})).await {
        Ok(answer) => Ok((remote, answer.into_inner())),
        Err(status) => Err(refused(&status).unwrap_or_else(|| {
            if status.code() == Code::Unimplemented {
                return other("it speaks gRPC, but is not snakepit");
            }
            other(&format!("{}: {}", status.code().description(), status.message()))
        })),
    }
}

/// What a server of ours had against being asked.
fn refused(status: &Status) -> Option<Finding> {
    let details = status.get_error_details();
    let info = details.error_info()?;
    Some(match info.reason.as_str() {
        "VERSION_UNSUPPORTED" => Finding::fail(
            "versions",
            format!(
                "this client, snakepit {HERE}, speaks protocol {API_VERSION}; the server speaks protocol {}",
                info.metadata.get("server").map_or("another", String::as_str)
            ),
            "upgrade the older of the two: both have to be of one major protocol",
        ),
        reason => Finding::fail(
            "access",
            format!("the server refuses to be asked: {} ({reason})", status.message()),
            "give a token that it knows",
        ),
    })
}

fn versions(info: &GetServerInfoResponse) -> Finding {
    const CHECK: &str = "versions";
    let GetServerInfoResponse { version, api_version, .. } = info;
    if *api_version != API_VERSION {
        return Finding::fail(
            CHECK,
            format!("this client speaks protocol {API_VERSION}, the server protocol {api_version}"),
            "upgrade the older of the two",
        );
    }
    if version != HERE {
        return Finding::warn(
            CHECK,
            format!("this client is {HERE}, the server {version}; both speak protocol {api_version}, so they fit"),
            "upgrade the older of the two when you can",
        );
    }
    Finding::ok(CHECK, format!("client and server are {version}, protocol {api_version}"))
}

async fn health(remote: &Remote) -> Finding {
    const CHECK: &str = "health";
    let request = HealthCheckRequest { service: String::new() };
    match HealthClient::new(remote.channel()).check(timed(request)).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => {
            Finding::ok(CHECK, "the server is serving")
        }
        Ok(_) => Finding::fail(CHECK, "the server is not serving", "it may be stopping: look at its log"),
        Err(status) => Finding::warn(
            CHECK,
            format!("the health service does not answer: {}", status.message()),
            "look at the server's log",
        ),
    }
}

fn open_to(info: &GetServerInfoResponse) -> Finding {
    const CHECK: &str = "access";
    if info.insecure {
        return Finding::warn(
            CHECK,
            "the server is open to other machines without encryption or authentication",
            "let it listen on 127.0.0.1, unless whoever can reach it may do everything",
        );
    }
    Finding::ok(CHECK, "the server is not open to strangers")
}

fn writes(info: &GetServerInfoResponse) -> Finding {
    const CHECK: &str = "journal";
    if !info.read_only_cause.is_empty() {
        return Finding::fail(
            CHECK,
            format!("writes are refused: {}", info.read_only_cause),
            "do that, or free space, or mend the disk; the server's log says more, and reads go on meanwhile",
        );
    }
    match info.durability() {
        Durability::Disk => Finding::ok(CHECK, "what is acknowledged is on disk"),
        Durability::Ephemeral | Durability::Unspecified => Finding::warn(
            CHECK,
            "sessions are kept in memory and end with the server",
            "start it without --ephemeral to keep them",
        ),
    }
}

async fn latency(remote: &Remote) -> Finding {
    const CHECK: &str = "latency";
    let mut pings = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = Instant::now();
        if let Err(status) = remote.server().get_server_info(timed(GetServerInfoRequest {})).await {
            return Finding::fail(CHECK, format!("the server went away: {}", status.message()), "look at its log");
        }
        pings.push(began.elapsed());
    }
    pings.sort_unstable();
    let median = pings[PINGS / 2];
    let what = format!("a round trip takes {:.2} ms (the median of {PINGS})", median.as_secs_f64() * 1e3);
    if median > SLOW {
        return Finding::warn(CHECK, what, "bind with freshness \"streamed\", or run the server nearer");
    }
    Finding::ok(CHECK, what)
}

/// Whether a write is accepted, and what the server's clock says of when.
async fn own_session(remote: &Remote) -> Vec<Finding> {
    const CHECK: &str = "writing";
    let id = format!("snakepit-doctor-{:016x}", fastrand::u64(..));
    let incarnation: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    let request = CreateSessionRequest {
        session_id: id.clone(),
        incarnation: incarnation.to_vec().into(),
        // Whatever becomes of this process.
        ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..CreateSessionRequest::default()
    };
    let (began, at) = (Instant::now(), SystemTime::now());
    let made = match remote.sessions().create_session(timed(request)).await {
        Ok(answer) => answer.into_inner().session.unwrap_or_default(),
        Err(status) => {
            let next = "see whether this token may write, and whether limits are reached";
            return vec![Finding::warn(CHECK, format!("a session cannot be made: {}", status.message()), next)];
        }
    };
    let took = began.elapsed();
    let delete = DeleteSessionRequest { session_id: id, incarnation: made.incarnation.clone() };
    let written = match remote.sessions().delete_session(timed(delete)).await {
        Ok(_) => Finding::ok(CHECK, format!("a write is acknowledged in {:.2} ms", took.as_secs_f64() * 1e3)),
        Err(status) => Finding::warn(
            CHECK,
            format!("the session {} that was made to see cannot be ended: {}", made.id, status.message()),
            "it expires within a minute",
        ),
    };
    vec![written, clock(&made, at, took)]
}

fn clock(made: &Session, at: SystemTime, took: Duration) -> Finding {
    const CHECK: &str = "clock";
    let Some(there) = made.created_at.and_then(|it| SystemTime::try_from(it).ok()) else {
        return Finding::warn(CHECK, "the server does not tell the time", "upgrade it");
    };
    let here = at + took / 2;
    let (apart, how) = match there.duration_since(here) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    // Half of the round trip is as exact as this can be.
    let apart = apart.saturating_sub(took / 2);
    if apart <= CLOCKS_APART {
        return Finding::ok(CHECK, "the server's clock and this machine's agree within a second");
    }
    Finding::warn(
        CHECK,
        format!("the server's clock is {:.0} s {how} this machine's", apart.as_secs_f64()),
        "set both by NTP: histories and expiries go by the server's",
    )
}
