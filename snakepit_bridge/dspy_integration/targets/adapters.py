"""Which adapter writes a program's prompts, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import installed
from snakepit_bridge.dspy_integration.targets.generation import TEXT, Fit
from snakepit_bridge.exceptions import BindingError

_NAMES = ("ChatAdapter", "JSONAdapter", "XMLAdapter")


def adapter_fit(table: Mapping[str, Any] | None, path: str) -> Fit:
    """What an adapter may follow: the name of one in `table`, or else of one of DSPy's that need no arguments.

    DSPy's are known with and without the word "Adapter", in any case.

    Raises:
        BindingError: something in the table is no adapter.
    """
    known: dict[str, Any] = {}
    for name, adapter in (table or {}).items():
        if not isinstance(adapter, dspy.Adapter):
            raise BindingError(f"adapters[{name!r}] of {path!r} is {adapter!r}, not a dspy.Adapter", {"path": path})
        known[name] = adapter
    if table is None:
        known = {name: adapter() for name, adapter in installed(_NAMES).items()}
    plain = {_plain(name): adapter for name, adapter in known.items()} if table is None else {}

    def coerce(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(value)  # noqa: TRY004 - the caller turns any refusal into one error
        adapter = known.get(value) or plain.get(_plain(value))
        if adapter is None:
            raise ValueError(value)
        return adapter

    return Fit(TEXT.types, f"the name of an adapter: {', '.join(known) or 'there is none'}", coerce)


def _plain(name: str) -> str:
    return name.casefold().removesuffix("adapter")
