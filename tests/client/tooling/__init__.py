"""What notebooks, pytest and mypy make of the client."""
