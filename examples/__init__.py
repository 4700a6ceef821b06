"""Programs that run alone: `python -m examples.quickstart`."""
