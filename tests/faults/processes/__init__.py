"""Processes that are killed, and one that is stuck."""
