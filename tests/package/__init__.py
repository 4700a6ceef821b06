"""The package itself: what it exports, what it is built of."""
