"""Calls of bound programs: which state they see, and who learns of it."""
