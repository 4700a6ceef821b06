"""Tools of other processes as tools of DSPy agents."""
