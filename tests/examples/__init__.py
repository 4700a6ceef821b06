"""The demo and the examples, run as a user runs them."""
