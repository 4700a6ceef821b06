"""Workers: connecting, serving, ending."""
