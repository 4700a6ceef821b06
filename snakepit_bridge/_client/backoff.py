"""Pauses that differ a little, so that those who lost a server do not come back all at once."""

from __future__ import annotations

import random

# Its own: what a program seeds and draws stays the program's.
_RANDOM = random.Random()  # noqa: S311

# Seconds between attempts to begin a lost stream again: at first, and after many.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


def jittered(seconds: float, *, most: float = 1.2) -> float:
    """About as many seconds: 0.8 to `most` times as many."""
    return seconds * _RANDOM.uniform(0.8, most)
