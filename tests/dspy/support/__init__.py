"""Programs, LMs and processes for the tests of the DSPy layer."""
