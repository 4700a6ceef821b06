"""What a bind call may choose from besides plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict


class Tables(TypedDict, total=False):
    """The objects that names in variables stand for; keyword arguments of `bind` and its like.

    Attributes:
        models: LMs by name, for "model", "lm" and attributes that hold an LM. The table is exhaustive. Without it a
            bound "model" may be any of the same provider as the predictor's LM.
        tools: for an agent's "tools", more than those it was made with: functions, `dspy.Tool`s, or either by name.
        adapters: for "adapter", adapters by name. Without it ChatAdapter, JSONAdapter and XMLAdapter.
    """

    models: Mapping[str, Any] | None
    tools: Iterable[Any] | Mapping[str, Any] | None
    adapters: Mapping[str, Any] | None


USERS = {
    "models": "a model, an lm or an attribute that holds an LM",
    "tools": "the tools of an agent",
    "adapters": "an adapter",
}
"""What chooses from each table."""


def names_in(given: Any) -> list[str]:
    """The names of what a table has."""
    if isinstance(given, Mapping):
        return list(given)
    # As `dspy.Tool` names a function, or an object that can be called.
    return [str(getattr(tool, "name", None) or getattr(tool, "__name__", type(tool).__name__)) for tool in given]
