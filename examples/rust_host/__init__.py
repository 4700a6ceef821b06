"""A Rust program that hosts the server, lends a DSPy agent a function of its own, and asks the agent."""
