"""Bound DSPy programs, judged by the requests that reach the LM."""
