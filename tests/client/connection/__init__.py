"""Contexts and their connections."""
