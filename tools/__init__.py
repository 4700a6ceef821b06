"""What is done to the repository, not by it."""
