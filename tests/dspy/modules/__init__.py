"""Variable-aware classes, and modules that follow a variable."""
