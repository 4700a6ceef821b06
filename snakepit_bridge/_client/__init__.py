"""One session's connection: opening it, sending rpcs, what their failures mean."""
