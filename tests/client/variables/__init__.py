"""Reading, writing and watching variables."""
