//! The Snakepit session server: live, typed, versioned variables over gRPC.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use snakepit_server::server::Server;
//! use tokio::net::TcpListener;
//!
//! let listener = TcpListener::bind("127.0.0.1:50051").await?;
//! Server::builder().serve(listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Dependencies point down only: `server` and `monitoring` → `service` → `store` and `tool` → `journal` → `metrics`.
//! `snakepit_core`, below all of them, knows what sessions, variables and values are; async and I/O are here.

pub mod access;
pub mod audit;
pub mod journal;
mod metrics;
mod monitoring;
pub mod server;
mod service;
pub mod store;
pub mod tls;
pub mod tool;
