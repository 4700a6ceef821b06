use std::error::Error;

use serde_json::{Value, json};
use snakepit_client::Session;

use crate::AGENT;

/// Asks the agent once, and prints what it thought, called and observed on the way to its answer.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) async fn ask(session: &Session, question: &str) -> Result<(), Box<dyn Error>> {
    println!("Q: {question}");
    let reply = session.call_tool(AGENT, &json!({"question": question})).await?;
    let fields = &reply.value["fields"];
    let steps = &fields["trajectory"];
    for step in 0.. {
        let of = |what: &str| steps.get(format!("{what}_{step}"));
        let (Some(thought), Some(tool)) = (of("thought"), of("tool_name")) else { break };
        println!("  {}. thought      {}", step + 1, text(thought));
        println!("     tool         {} {}", text(tool), of("tool_args").unwrap_or(&Value::Null));
        println!("     observation  {}", text(of("observation").unwrap_or(&Value::Null)));
    }
    println!("A: {}", text(&fields["answer"]));
    Ok(())
}

/// On one line, whatever it says.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
