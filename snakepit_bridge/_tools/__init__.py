"""Tools: calling them, and serving functions as tools."""
