//! A way to the server that breaks: connections are cut, in the middle of an answer too, and stall.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What is done to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Go,
    /// Nothing passes.
    Stall,
    Cut,
}

#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<watch::Sender<Order>>>>,
    /// Connections that were cut in the middle of an answer, after so many bytes.
    pub torn: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Self { address, connections: Arc::default(), torn: Arc::default() };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (order, orders) = watch::channel(Order::Go);
                let mut connections = accepting.connections.lock();
                connections.retain(|connection| !connection.is_closed());
                connections.push(order);
                // Some are cut while the server speaks, in the middle of a frame as likely as not.
                let budget = if random.bool() { random.u64(2_000..200_000) } else { u64::MAX };
                tokio::spawn(carry(client, server, orders, budget, Arc::clone(&accepting.torn)));
            }
        });
        proxy
    }

    /// Cuts each connection with this probability. Says how many.
    pub fn cut(&self, random: &mut fastrand::Rng, share: f64) -> u64 {
        let connections = self.connections.lock();
        connections.iter().filter(|connection| random.f64() < share && connection.send(Order::Cut).is_ok()).count()
            as u64
    }

    /// Holds each connection with this probability for a while. Says how many.
    pub async fn stall(&self, random: &mut fastrand::Rng, share: f64, time: Duration) -> u64 {
        let order = |from: Order, to: Order, random: &mut fastrand::Rng, share: f64| {
            let connections = self.connections.lock();
            let chosen = connections.iter().filter(|it| *it.borrow() == from && random.f64() < share);
            chosen.filter(|connection| connection.send(to).is_ok()).count() as u64
        };
        let stalled = order(Order::Go, Order::Stall, random, share);
        tokio::time::sleep(time).await;
        order(Order::Stall, Order::Go, random, 1.0);
        stalled
    }
}

/// Carries bytes both ways until either side, an order or the budget ends it; then both sides see the end.
async fn carry(
    client: TcpStream,
    server: SocketAddr,
    orders: watch::Receiver<Order>,
    budget: u64,
    torn: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _best_effort = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut cut = orders.clone();
    tokio::select! {
        _gone = cut.wait_for(|order| *order == Order::Cut) => {}
        _ended = copy(from_client, to_server, orders.clone(), u64::MAX) => {}
        end = copy(from_server, to_client, orders, budget) => {
            torn.fetch_add(u64::from(end == Ended::OutOfBudget), Ordering::Relaxed);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Closed,
    OutOfBudget,
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut orders: watch::Receiver<Order>,
    mut budget: u64,
) -> Ended {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return Ended::Closed };
        if orders.wait_for(|order| *order != Order::Stall).await.is_err() {
            return Ended::Closed;
        }
        let passed = usize::try_from(budget).unwrap_or(usize::MAX).min(read);
        if to.write_all(&buffer[..passed]).await.is_err() {
            return Ended::Closed;
        }
        if passed < read {
            return Ended::OutOfBudget;
        }
        budget = budget.saturating_sub(passed as u64);
    }
}
