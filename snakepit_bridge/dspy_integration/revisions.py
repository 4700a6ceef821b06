"""The revision that a prediction was made with, noted in the prediction itself."""

from __future__ import annotations

from typing import Any

REVISION = "_snakepit_revision"
"""Where a prediction keeps it. In an attribute: equal predictions share no state."""


def revision_of(prediction: Any) -> int | None:
    """The session's revision that an answer of a bound program was made with.

    That of the snapshot which the outermost call took; under `refresh="step"` each predictor's own answer carries its
    own. None if no bound program made it, or if only the defaults of its bindings were used. `copy.copy` and `deepcopy`
    of a prediction keep it; `prediction.copy()` is a new one made of its fields, and has none.
    """
    revision: int | None = getattr(prediction, "__dict__", {}).get(REVISION)
    return revision
