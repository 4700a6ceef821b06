"""Calls of tools: arguments, results, failures, streams."""
