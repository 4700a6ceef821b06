"""What `SessionContext` and `BlockingContext` are made of."""
