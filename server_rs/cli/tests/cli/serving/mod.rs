mod breaker;
mod canary;
mod logs;
mod probes;
mod tls;
mod tokens;
