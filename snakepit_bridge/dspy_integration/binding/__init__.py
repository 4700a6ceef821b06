"""Binding programs to variables, and unbinding, listing and saving what is bound."""
