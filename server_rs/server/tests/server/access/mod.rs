mod audit;
mod rpcs;
mod secrets;
mod streams;
