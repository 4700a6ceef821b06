//! The servers beside which Snakepit is measured: child processes, on free ports, with their data on the same disk.

use std::{
    io,
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{Outcome, Setting, failure};

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Those before lose acknowledged writes in a power cut, whatever they are told.
const OLDEST_NATS: (u32, u32) = (2, 12);

/// A running server; it is killed with this one.
pub(super) struct Peer {
    _child: Child,
    _data: TempDir,
    pub(super) address: String,
    pub(super) pid: u32,
}

/// An etcd of one member. None if it is not installed.
pub(super) async fn etcd(setting: &Setting, binary: &Path) -> Outcome<Option<Peer>> {
    let (data, client, member) = (setting.directory("etcd")?, free_port()?, free_port()?);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new(binary);
    command.arg("--data-dir").arg(data.path()).args([
        "--listen-client-urls",
        &url(client),
        "--advertise-client-urls",
        &url(client),
        "--listen-peer-urls",
        &url(member),
        "--initial-advertise-peer-urls",
        &url(member),
        "--initial-cluster",
        &format!("default={}", url(member)),
        "--log-level",
        "error",
    ]);
    start(command, data, client).await
}

/// A NATS server whose streams reach the disk before they are acknowledged. None if it is not installed, or too old.
pub(super) async fn nats(setting: &Setting, binary: &Path) -> Outcome<Option<Peer>> {
    let said = match Command::new(binary).arg("--version").output().await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?.stdout,
    };
    if version(&String::from_utf8_lossy(&said)) < Some(OLDEST_NATS) {
        return Ok(None);
    }
    let (data, port) = (setting.directory("nats")?, free_port()?);
    let config = data.path().join("nats.conf");
    let store = std::path::absolute(data.path().join("store"))?;
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?}, sync_interval: always }}\n",
        store.display().to_string()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&config);
    start(command, data, port).await
}

async fn start(mut command: Command, data: TempDir, port: u16) -> Outcome<Option<Peer>> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let pid = child.id().ok_or_else(|| failure("a peer has ended at once"))?;
    let (address, began) = (format!("127.0.0.1:{port}"), Instant::now());
    while TcpStream::connect(&address).await.is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(failure(format!("{command:?} has ended: {status}")));
        }
        if began.elapsed() > STARTS_WITHIN {
            return Err(failure(format!("{command:?} does not listen on {address}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Some(Peer { _child: child, _data: data, address, pid }))
}

/// Major and minor out of what a server says of itself.
fn version(said: &str) -> Option<(u32, u32)> {
    let (_, numbers) = said.trim().rsplit_once('v')?;
    let mut numbers = numbers.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A port that nobody listens on at the moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
