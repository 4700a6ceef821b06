"""What can be bound, how, and what a binding does."""
