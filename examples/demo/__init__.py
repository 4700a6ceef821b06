"""The main job in one command: a value changed by one process is in the next LM request of another."""
