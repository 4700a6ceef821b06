//! A server that tells how it fares, and somebody who asks over plain TCP.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use snakepit_server::{journal::Home, server::Builder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::setup::TestServer;

/// A server with metrics, and where they are.
pub async fn monitored<H: Home>(builder: Builder<H>) -> (TestServer, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (TestServer::of(builder.metrics(listener)).await, address)
}

/// What an HTTP request was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// Sends this and reads to the end.
pub async fn say(address: impl tokio::net::ToSocketAddrs, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

pub async fn ask(address: impl tokio::net::ToSocketAddrs, method: &str, path: &str) -> Answered {
    let answer = say(address, format!("{method} {path} HTTP/1.1\r\nHost: snakepit\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answered { status, headers, body: body.to_owned() }
}

pub async fn get(address: impl tokio::net::ToSocketAddrs, path: &str) -> Answered {
    ask(address, "GET", path).await
}

/// The samples of a scrape by name and labels, as they are written.
#[derive(Debug)]
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    pub async fn of(address: impl tokio::net::ToSocketAddrs) -> Self {
        let answer = get(address, "/metrics").await;
        assert_eq!(answer.status, 200);
        let samples = answer.body.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
        Self(samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect())
    }

    /// The value of a sample without the prefix `snakepit_`, 0 if it is not there.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(&format!("snakepit_{name}")).copied().unwrap_or_default()
    }

    /// How much each of these has risen since.
    pub fn since<const N: usize>(&self, before: &Self, names: [&str; N]) -> [(String, f64); N] {
        names.map(|name| (name.to_owned(), self.value(name) - before.value(name)))
    }
}

/// Names and how much they should have risen.
pub fn rises<const N: usize>(expected: [(&str, f64); N]) -> [(String, f64); N] {
    expected.map(|(name, rise)| (name.to_owned(), rise))
}
