"""The Python client against the real server."""
