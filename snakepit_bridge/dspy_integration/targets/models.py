"""Which LM a bound model name means. A name must never send one provider's key to another provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import CALLBACKS, HISTORY, KWARGS
from snakepit_bridge.dspy_integration.targets.generation import REFUSED
from snakepit_bridge.exceptions import ModelNotAllowedError

_NAME = re.compile(r"[\w@+-][\w.:@+-]*(/[\w@+-][\w.:@+-]*)*")
_KEPT = 16
_OF_AN_ATTEMPT = ("rollout_id", "temperature")


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
            return self._attempt(base, value)
        if _NAME.fullmatch(value) is None:
            raise self._refused(value, "that is no model name")
        if base is None or not isinstance(getattr(base, "model", None), str):
            return base
        model = self._model_of(base.model, value)
        if model == base.model:
            return base
        kept = self._kept(base, model)
        if kept is None:
            kept = base.copy(model=model)
            _share(kept, base, KWARGS, HISTORY, CALLBACKS)
            self._keep(base, model, kept)
        return kept

    def name_of(self, lm: Any, base: Any, like: Any) -> str | None:
        """The value that gives an LM of the same settings in place of `base`, spelled like another value if it can be.

        None if no value does.
        """
        if self._table is not None:
            # Two of them may be one model, reached in different ways.
            names = sorted(self._table, key=lambda name: self._table[name].kwargs != lm.kwargs)  # type: ignore[index]
        else:
            _, _, short = str(lm.model).partition("/")
            names = sorted([str(lm.model), short], key=lambda name: ("/" in name) != ("/" in str(like)))
        return next((name for name in names if self._gives(name, base, lm)), None)

    def _gives(self, name: str, base: Any, lm: Any) -> bool:
        try:
            return lm_settings(self.lm_for(base, name)) == lm_settings(lm)
        except ModelNotAllowedError:
            return False

    def _attempt(self, base: Any, name: str) -> Any:
        """The LM of that name. If `base` is for one attempt of several, as in `BestOfN`, a copy for that attempt.

        Without its rollout id all attempts would be one request to a cache. Nothing else is taken from `base`.
        """
        chosen = (self._table or {})[name]
        given = getattr(base, "kwargs", {})
        if given.get("rollout_id") is None or base is dspy.settings.lm:
            return chosen
        kept = self._kept(base, name)
        if kept is None:
            kept = chosen.copy(**{key: given[key] for key in _OF_AN_ATTEMPT if given.get(key) is not None})
            _share(kept, chosen, HISTORY)
            self._keep(base, name, kept)
        return kept

    def _kept(self, base: Any, name: str) -> Any:
        found = self._copies.get((id(base), name))
        # The id alone could belong to an LM that is gone.
        return found[1] if found is not None and found[0] is base else None

    def _keep(self, base: Any, name: str, copy: Any) -> None:
        if len(self._copies) >= _KEPT:
            self._copies.clear()
        self._copies[id(base), name] = (base, copy)

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
            f"{self._path!r} may not switch to model {value!r} of variable {self._variable!r}: {why}. Set it to one"
            " of the same provider, or give sb.bind models={name: dspy.LM(...)}",
            {"path": self._path, "variable": self._variable, "model": value},
        )


def with_parameters(lm: Any, parameters: Mapping[str, Any]) -> Any:
    """A copy of an LM with other generation parameters, and the same history; None leaves one out."""
    if lm is None:
        return None
    copy = lm.copy()
    copy.kwargs = {name: value for name, value in (lm.kwargs | parameters).items() if value is not None}
    _share(copy, lm, HISTORY, CALLBACKS)
    return copy


def _share(copy: Any, base: Any, *names: str) -> None:
    # An LM of one's own need not have all of them.
    vars(copy).update({name: vars(base)[name] for name in names if name in vars(base)})


def lm_settings(lm: Any) -> dict[str, Any]:
    """What an LM generates with; not how it is reached, nor for which attempt. For None that of the default LM."""
    lm = lm or dspy.settings.lm
    given = {"model": getattr(lm, "model", None), "model_type": getattr(lm, "model_type", None)}
    given |= getattr(lm, "kwargs", {})
    return {name: value for name, value in given.items() if value is not None and name not in {*REFUSED, "rollout_id"}}
