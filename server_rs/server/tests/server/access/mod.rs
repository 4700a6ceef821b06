mod audit;
mod indistinguishable;
mod rpcs;
mod secret_sizes;
mod secrets;
mod streams;
