"""Freezing, optimizing and publishing programs."""
