"""What a call of a bound program sees: its snapshot, laid over what DSPy reads."""
