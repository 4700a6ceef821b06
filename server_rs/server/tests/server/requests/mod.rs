mod client;
mod discovery;
mod errors;
mod hostile;
mod metrics;
mod request_ids;
mod traces;
