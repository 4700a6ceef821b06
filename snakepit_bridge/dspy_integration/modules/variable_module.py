"""A module that is another one from call to call, as a variable says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dspy

from snakepit_bridge._variables.variables import Variable
from snakepit_bridge.dspy_integration._dspy_internals import ensure_signature
from snakepit_bridge.dspy_integration.binding.binder import bind
from snakepit_bridge.dspy_integration.modules.resolver import MODULE_REGISTRY, pick
from snakepit_bridge.dspy_integration.overlay.binding import Var
from snakepit_bridge.dspy_integration.overlay.classes import Overlaid
from snakepit_bridge.dspy_integration.overlay.entry_points import has_aforward
from snakepit_bridge.exceptions import BindingError
from snakepit_bridge.session_context import session_of

_FROM_SIGNATURE = ("Predict", "ChainOfThought", "ProgramOfThought")
"""DSPy's modules that need no more than a signature to be made and called."""


class VariableModule(Overlaid, dspy.Module):
    """Calls the module that a variable names, with the call's own snapshot. Follows it live.

    All candidates are made here: the variable's allowed modules, or else those of `modules` (without either, Predict
    and ChainOfThought). They are in `candidates` by name, so that predictor names are stable for saving, copying and
    optimizing. Costs one rpc. The value may be in any case, or an alias like COT. `choice` is the value in effect; a
    pickle has the one it was made with, and `bind(module, {"choice": variable}, session=...)` makes it live again.

    Args:
        variable: the variable's name.
        signature: what the candidates are made from.
        session: a SessionContext or its blocking twin.
        modules: name -> a module, or a function from signature to module; for names not in here DSPy's own, if it
            needs only a signature.

    Raises:
        BindingError: an allowed module cannot be made.
        UnknownModuleError: the value is none of the candidates; from a call, too.
        VariableNotFoundError: there is no such variable.
    """

    def __init__(
        self,
        variable: str,
        signature: Any,
        *,
        session: Any,
        modules: Mapping[str, dspy.Module | Callable[[Any], dspy.Module]] | None = None,
    ) -> None:
        super().__init__()
        signature = ensure_signature(signature)
        found = session_of(session).describe([variable])[variable]
        names = _allowed(found) or tuple(modules or ("Predict", "ChainOfThought"))
        self.variable = variable
        self.candidates = {name: _make(name, signature, modules or {}, variable) for name in names}
        self._secret = found.secret
        self.choice = pick(found.value, self.candidates, variable, secret=found.secret)
        bind(self, {"choice": Var(variable)}, session=session)

    def selected(self) -> Any:
        """The module in effect: in a call as of its snapshot, else the newest that this context has seen."""
        return self.candidates[pick(self.choice, self.candidates, self.variable, secret=self._secret)]

    def forward(self, **kwargs: Any) -> Any:
        """Calls the module in effect."""
        return self.selected()(**kwargs)

    async def aforward(self, **kwargs: Any) -> Any:
        """The same, awaited."""
        chosen = self.selected()
        return await (chosen.acall(**kwargs) if has_aforward(chosen) else dspy.asyncify(chosen)(**kwargs))


def _allowed(variable: Variable) -> Iterable[str]:
    limits = variable.constraints
    return tuple(limits.get("modules") or limits.get("choices") or limits.get("enum") or ())


def _make(name: str, signature: Any, modules: Mapping[str, Any], variable: str) -> Any:
    try:
        given = modules[pick(name, modules, variable)]
    except ValueError:
        known = {own: MODULE_REGISTRY[own] for own in _FROM_SIGNATURE if own in MODULE_REGISTRY}
        try:
            given = known[pick(name, known, variable)]
        except ValueError:
            raise BindingError(
                f"variable {variable!r} allows module {name!r}, which cannot be made from a signature alone: give "
                f"modules={{{name!r}: lambda signature: ...}}",
                {"variable": variable, "module": name},
            ) from None
    made = given if isinstance(given, dspy.Module) else given(signature)
    if not isinstance(made, dspy.Module):
        facts = {"variable": variable, "module": name}
        raise BindingError(f"modules[{name!r}] gave {made!r}, not a dspy.Module", facts)
    return made
