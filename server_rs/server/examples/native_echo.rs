//! A server whose host has one tool, `native_echo`, for benchmarks. Says where it listens; ends when its stdin does.

use std::error::Error;

use schemars::JsonSchema;
use serde::Deserialize;
use snakepit_core::tool::Failure;
use snakepit_server::{server::Server, tool::Tool};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

/// What to give back.
#[derive(Deserialize, JsonSchema)]
struct Given {
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    #[expect(clippy::print_stdout, reason = "whoever started it waits for this line")]
    {
        println!("listening on {address}");
    }
    let echo = Tool::new("native_echo", |given: Given| async move { Ok::<_, Failure>(given.text) });
    Server::builder()
        .native_tool(echo.description("Gives the text back."))
        .serve(listener, async {
            let mut rest = Vec::new();
            // However it ends, it has ended.
            let _ = tokio::io::stdin().read_to_end(&mut rest).await;
        })
        .await?;
    Ok(())
}
