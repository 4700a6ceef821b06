"""Servers that do wrong on purpose, to see that it is noticed."""
