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
