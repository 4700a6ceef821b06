"""Tools: offered, called, streamed and served, through the real server."""
