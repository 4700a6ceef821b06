"""Live, typed, versioned variables for DSPy programs."""
