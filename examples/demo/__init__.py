"""The main job in one command: a value set by one process is in the next LM request of another."""
