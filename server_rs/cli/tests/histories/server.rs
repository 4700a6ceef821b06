//! The server under test: a process of its own, on a directory, that is killed, stopped and started again.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// How often a quiet watch says that it lives, in seconds.
const HEARTBEAT: &str = "1";

pub struct Server {
    pub address: SocketAddr,
    directory: PathBuf,
    log: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// While it is open the server lives.
    _stdin: ChildStdin,
}

fn binary() -> PathBuf {
    std::env::var_os("SNAKEPIT_SERVER_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_snakepit").into(), PathBuf::from)
}

/// A free port, below those that the system gives to clients: one that tries to connect while the server is away could
/// be given the server's own port, be connected with itself, and keep it.
fn free_address() -> SocketAddr {
    loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", fastrand::u16(15_000..32_000))) {
            return listener.local_addr().unwrap();
        }
    }
}

impl Server {
    /// Starts a server on a directory. What it logs goes to a file.
    pub fn start(directory: &Path, log: &Path) -> Self {
        File::create(log).unwrap();
        let mut server = Self { address: free_address(), directory: directory.into(), log: log.into(), running: None };
        server.run();
        server
    }

    /// Starts the process, and returns once it accepts connections.
    fn run(&mut self) {
        let log = OpenOptions::new().append(true).open(&self.log).unwrap();
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            let of_server = name.to_string_lossy().starts_with("SNAKEPIT_");
            // A fault that was planted is chosen by the environment.
            if of_server && !name.to_string_lossy().contains("FAULT") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--until-stdin-closes", "--heartbeat", HEARTBEAT, "--listen"]);
        command.arg(self.address.to_string()).arg("--data-dir").arg(&self.directory);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on"), "the server did not start: it said {line:?}; {}", self.tail());
        let stdin = child.stdin.take().unwrap();
        self.running = Some(Running { child, _stdin: stdin });
    }

    /// As a crash would end it; started again.
    pub fn crash(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        self.run();
    }

    /// Lets it end by itself, and starts it again.
    pub fn restart(&mut self) {
        self.signal("-TERM");
        let mut running = self.running.take().unwrap();
        let status = running.child.wait().unwrap();
        assert!(status.success(), "a stopped server ended with {status}; {}", self.tail());
        self.run();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let child = &self.running.as_ref().unwrap().child;
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the server could not be sent {signal}; {}", self.tail());
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) {
        let ended = self.running.as_mut().unwrap().child.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself with {ended:?}; {}", self.tail());
    }

    /// The last it logged.
    pub fn tail(&self) -> String {
        let lines = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = lines.lines().collect();
        format!("its log, {}, ends\n{}", self.log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _gone = running.child.kill();
            let _reaped = running.child.wait();
        }
    }
}
