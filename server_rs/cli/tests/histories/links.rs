//! Connections to the server, shared by all histories: half of them direct, half through the proxy that breaks.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use snakepit_proto::v1::{
    session_service_client::SessionServiceClient, variable_service_client::VariableServiceClient,
};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

const CALLING: usize = 24;
const WATCHING: usize = 8;
/// What a slow watcher's stream holds before the server has to wait for it.
const SMALL_WINDOW: u32 = 2 * 1024;
const LARGE_WINDOW: u32 = 8 * 1024 * 1024;

/// How often the server has been started again, and whether it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Up {
    pub starts: u64,
    pub is: bool,
}

pub struct Links {
    calling: Vec<Channel>,
    watching: Vec<Channel>,
    slowly: Vec<Channel>,
    next: AtomicU64,
    up: watch::Receiver<Up>,
}

impl Links {
    pub fn new(server: SocketAddr, proxy: SocketAddr, up: watch::Receiver<Up>) -> Self {
        let channels = |count: usize, window: Option<u32>| -> Vec<Channel> {
            let to = |index: usize| if index.is_multiple_of(2) { server } else { proxy };
            (0..count).map(|index| channel(to(index), window)).collect()
        };
        Self {
            calling: channels(CALLING, None),
            watching: channels(WATCHING, None),
            slowly: channels(WATCHING, Some(SMALL_WINDOW)),
            next: AtomicU64::new(0),
            up,
        }
    }

    fn one_of<'a>(&self, channels: &'a [Channel]) -> &'a Channel {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &channels[usize::try_from(next).unwrap_or_default() % channels.len()]
    }

    /// Any connection.
    pub fn variables(&self) -> VariableServiceClient<Channel> {
        VariableServiceClient::new(self.one_of(&self.calling).clone())
    }

    pub fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.one_of(&self.calling).clone())
    }

    /// Any connection for a watch.
    pub fn watching(&self, slowly: bool) -> VariableServiceClient<Channel> {
        VariableServiceClient::new(self.one_of(if slowly { &self.slowly } else { &self.watching }).clone())
    }

    /// Waits until the server is there.
    pub async fn up(&self) {
        let mut up = self.up.clone();
        let _ended = up.wait_for(|up| up.is).await;
    }

    /// Waits until the server goes away.
    pub async fn away(&self) {
        let mut up = self.up.clone();
        let _ended = up.wait_for(|up| !up.is).await;
    }

    pub fn starts(&self) -> u64 {
        self.up.borrow().starts
    }

    /// Waits until the server has been started again since it had been so many times.
    pub async fn restarted(&self, since: u64) {
        let mut up = self.up.clone();
        let _ended = up.wait_for(|up| up.is && up.starts > since).await;
    }
}

fn channel(to: SocketAddr, window: Option<u32>) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap().tcp_nodelay(true);
    // All streams of a connection share its window: a slow one must not keep the others waiting.
    let endpoint = endpoint.initial_connection_window_size(LARGE_WINDOW);
    endpoint.initial_stream_window_size(window.unwrap_or(LARGE_WINDOW)).connect_lazy()
}
