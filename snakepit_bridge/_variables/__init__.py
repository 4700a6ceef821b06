"""Variables: their values and constraints, reading and writing them, the mirror, watches."""
