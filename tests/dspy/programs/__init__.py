"""Programs of another process, called as tools."""
