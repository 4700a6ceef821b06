"""Modules that are bound by their class, or chosen by a variable."""
