use std::{error::Error, time::Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use snakepit_client::{Client, Session};

use crate::{AGENT, LOOKUP, SESSION, population};

/// A connection carries 256 calls at once.
const CALLS_PER_CONNECTION: usize = 250;

/// Asks so many agents at once, each for a city's population, and says how long that took beside what the tool's own
/// latency allows: each agent looks up once, and the host runs so many lookups at once.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) async fn ask_at_once(address: &str, agents: u32, lookups: u32) -> Result<(), Box<dyn Error>> {
    let asked: Vec<&str> = population::cities().take(agents as usize).collect();
    let mut sessions = Vec::new();
    for _ in asked.chunks(CALLS_PER_CONNECTION) {
        sessions.push(Client::connect(address).await?.session(SESSION).await?);
    }
    let sessions = sessions.iter().flat_map(|session| [session; CALLS_PER_CONNECTION]);
    let begun = Instant::now();
    let replies = join_all(asked.iter().zip(sessions).map(|(city, session)| ask(session, city))).await;
    let took = begun.elapsed().as_secs_f64();
    let mut right = 0;
    for (city, reply) in asked.iter().zip(replies) {
        let answer = reply?;
        let population = population::population_of(city)?;
        right += usize::from(answer["fields"]["trajectory"]["observation_0"] == population);
    }
    let best = f64::from(agents.div_ceil(lookups)) * LOOKUP.as_secs_f64();
    println!("{agents} agents at once: {right} looked up what they were asked for, in {took:.2} s.");
    println!(
        "A lookup takes {} ms and the host runs {lookups} at once: {best:.2} s at best, so {:.1} % of what it allows.",
        LOOKUP.as_millis(),
        100.0 * best / took
    );
    Ok(())
}

async fn ask(session: &Session, city: &str) -> Result<Value, Box<dyn Error>> {
    let question = format!("What is the population of {city}?");
    Ok(session.call_tool(AGENT, &json!({"question": question})).await?.value)
}
