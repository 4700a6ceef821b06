"""DSPy programs as tools for other processes."""
