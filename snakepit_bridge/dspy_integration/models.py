"""Which LM a bound model name means. A name must never send one provider's key to another provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from snakepit_bridge.exceptions import ModelNotAllowedError

_NAME = re.compile(r"[\w@+-][\w.:@+-]*(/[\w@+-][\w.:@+-]*)*")
_KEPT = 16


class ModelChoice:
    """Turns the value of a model variable into an LM, for one binding.

    An LM is copied once per (base, model): every predictor that the binding reaches then sees the same object, as
    `Module.get_lm()` needs, and the copy shares the base's settings, history and connections.
    """

    def __init__(self, path: str, variable: str, table: Mapping[str, Any] | None) -> None:
        self._path = path
        self._variable = variable
        self._table = dict(table) if table is not None else None
        self._copies: dict[tuple[int, str], tuple[Any, Any]] = {}

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names that may be chosen; None: any model of the same provider."""
        return tuple(self._table) if self._table is not None else None

    def lm_for(self, base: Any, value: str) -> Any:
        """The LM to use instead of `base`, which may be None while none is known.

        Raises:
            ModelNotAllowedError: `value` is in no table of LMs, and not a model of the base's provider.
        """
        if self._table is not None:
            if value not in self._table:
                raise self._refused(value, f"models= has {', '.join(map(repr, self._table)) or 'nothing'}")
            return self._table[value]
        if _NAME.fullmatch(value) is None:
            raise self._refused(value, "that is no model name")
        if base is None or not isinstance(getattr(base, "model", None), str):
            return base
        model = self._model_of(base.model, value)
        if model == base.model:
            return base
        kept = self._copies.get((id(base), model))
        # The id alone could belong to an LM that is gone.
        if kept is not None and kept[0] is base:
            return kept[1]
        copy = base.copy(model=model)
        copy.kwargs, copy.history, copy.callbacks = base.kwargs, base.history, base.callbacks
        if len(self._copies) >= _KEPT:
            self._copies.clear()
        self._copies[id(base), model] = (base, copy)
        return copy

    def _model_of(self, base: str, value: str) -> str:
        prefix, slash, _ = base.partition("/")
        if not slash:
            if value == base:
                return base
            # Without a prefix the provider is guessed from the name, so another name may mean another provider.
            raise self._refused(value, f"the LM in use, {base!r}, does not say its provider (as 'openai/{base}' would)")
        if "/" not in value:
            return f"{prefix}/{value}"
        if value.startswith(f"{prefix}/"):
            return value
        raise self._refused(value, f"the LM in use is of {prefix!r} and its key must not go to another provider")

    def _refused(self, value: str, why: str) -> ModelNotAllowedError:
        return ModelNotAllowedError(
            f"{self._path!r} may not switch to model {value!r} of variable {self._variable!r}: {why}. Set it to one "
            " of the same provider, or give sb.bind models={name: dspy.LM(...)}",
            {"path": self._path, "variable": self._variable, "model": value},
        )
