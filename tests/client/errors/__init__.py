"""Errors, and what causes them."""
