//! A Rust program that hosts the Snakepit server, lends a `DSPy` agent a function of its own, and asks the agent.
//!
//! ```sh
//! cargo run -p rust_host                                   # asks once, and prints what the agent thought and did
//! cargo run -p rust_host --release -- --agents 1000        # a thousand agents at once
//! cargo run -p rust_host -- --model openai/gpt-4o-mini     # a real LM; --model local: a tiny one on this machine
//! ```
//!
//! It is run from the top of the repository, with an environment active that has the Python package.

mod agents;
mod population;
mod trace;
mod worker;

use std::{error::Error, time::Duration};

use clap::Parser;
use snakepit_client::Client;
use snakepit_server::{server::Server, tool::Tool};
use tokio::{net::TcpListener, sync::oneshot};

use population::{City, population_of};
use worker::Worker;

/// The session in which host and agent meet.
const SESSION: &str = "rust-host";
/// The tool that the agent is.
const AGENT: &str = "population_agent";
/// How long the host takes to look a city up: what it stands for is a database somewhere else.
const LOOKUP: Duration = Duration::from_millis(100);

/// Hosts the server and a tool, has a Python worker serve a `DSPy` agent that uses the tool, and asks the agent.
#[derive(Debug, Parser)]
struct Options {
    /// What to ask the agent.
    #[arg(long, default_value = "What is the population of Paris?")]
    question: String,
    /// The LM: any `DSPy` model string; "local" for a tiny real one on this machine. Without it a script plays the LM.
    #[arg(long, env = "SNAKEPIT_MODEL", default_value = "")]
    model: String,
    /// Also ask so many agents at once, and say how long that took.
    #[arg(long, value_name = "N")]
    agents: Option<u32>,
    /// How many lookups the host runs at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    lookups: u32,
    /// Processes that serve the agent.
    #[arg(long, default_value_t = 1, value_name = "N")]
    processes: u32,
    /// The Python that has the package.
    #[arg(long, env = "PYTHON", default_value = "python3")]
    python: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let lookup = Tool::new("lookup_population", |city: City| async move {
        tokio::time::sleep(LOOKUP).await;
        population_of(&city.city)
    })
    .description("How many people live in a city.")
    .idempotent(true)
    .max_concurrency(options.lookups);
    let server = tokio::spawn(Server::builder().native_tool(lookup).serve(listener, async {
        // Whether told to stop or forgotten: both are the end.
        let _ = stopped.await;
    }));

    let session = Client::connect(&address).await?.session(SESSION).await?;
    let worker = Worker::start(&options, &address).await?;
    trace::ask(&session, &options.question).await?;
    if let Some(agents) = options.agents {
        agents::ask_at_once(&address, agents, options.lookups).await?;
    }
    worker.stop().await?;
    drop(stop);
    server.await??;
    Ok(())
}
