"""Modules chosen by a variable: from its value to a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakepit_bridge._variables.display import WITHHELD
from snakepit_bridge.dspy_integration._dspy_internals import installed
from snakepit_bridge.dspy_integration.binding.binder import bind_async
from snakepit_bridge.dspy_integration.binding.plan import Bindings
from snakepit_bridge.dspy_integration.modules.modules import AWARE, VariableAwareMixin
from snakepit_bridge.dspy_integration.targets.paths import closest
from snakepit_bridge.exceptions import UnknownModuleError
from snakepit_bridge.session_context import session_of

_NAMES = "Predict,ChainOfThought,ReAct,ProgramOfThought,MultiChainComparison,BestOfN,Refine,CodeAct,RLM,ReActV2,Flex"

MODULE_REGISTRY: dict[str, Any] = installed(_NAMES.split(","))
"""DSPy's modules by name, as far as this DSPy has them. Every resolver starts with a copy."""

ALIASES: Mapping[str, str] = {
    "cot": "ChainOfThought",
    "pot": "ProgramOfThought",
    "mcc": "MultiChainComparison",
    "predictor": "Predict",
}
"""Short names, in lower case."""


def plain_name(name: str) -> str:
    """What is compared of a module's name: not its case, nor `_`, `-` and spaces."""
    return "".join(letter for letter in name.casefold() if letter not in "_- ")


def pick(name: Any, known: Mapping[str, Any], variable: str, *, secret: bool = False) -> str:
    """The key of `known` that a value means: itself, in any case, or by an alias. Names no secret.

    Raises:
        UnknownModuleError: none.
    """
    if isinstance(name, str):
        if name in known:
            return name
        by_plain = {plain_name(key): key for key in known}
        wanted = plain_name(name)
        for candidate in (wanted, plain_name(ALIASES.get(wanted, ""))):
            if candidate in by_plain:
                return by_plain[candidate]
    near = [] if secret else closest(str(name), known)
    shown = WITHHELD if secret else str(name)
    raise UnknownModuleError(
        f"variable {variable!r} names module {shown!r}, which is not known here"
        + (f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known)}")
        + " Give it to modules=, register_module or the variable's allowed modules",
        {"variable": variable, "module": shown, "known": ",".join(known)},
    )


class ModuleVariableResolver:
    """Gives the module class that a variable names. Each call reads the variable with one rpc; its result is not live.

    Args:
        session_context: a SessionContext or its blocking twin.
    """

    def __init__(self, session_context: Any) -> None:
        self._context = session_context
        self._session = session_of(session_context)
        self._classes: dict[str, Any] = dict(MODULE_REGISTRY)
        self._aware = dict(AWARE)

    def register_module(self, name: str, module_class: type, variable_aware_class: type | None = None) -> None:
        """Makes a class known by a name, in place of what was known by it."""
        self._classes[name] = module_class
        self._aware.pop(name, None)
        if variable_aware_class is not None:
            self._aware[name] = variable_aware_class

    def get_available_modules(self) -> list[str]:
        """The names known, in the order in which they became so."""
        return list(self._classes)

    async def resolve_module(self, variable: str) -> type:
        """The class that a variable names now.

        Raises:
            UnknownModuleError: it names none that is known.
            VariableNotFoundError: there is no such variable.
        """
        found: type = self._classes[await self._name(variable)]
        return found

    async def create_module(
        self, variable: str, signature: Any, *args: Any, use_variable_aware: bool = True, **kwargs: Any
    ) -> Any:
        """An instance of the class that a variable names now; further arguments go to the class.

        With `use_variable_aware` it is of the variable-aware class, with this resolver's session, if there is one.

        Raises:
            UnknownModuleError, VariableNotFoundError: as `resolve_module`.
        """
        name = await self._name(variable)
        aware = self._aware.get(name) if use_variable_aware else None
        if aware is None:
            return self._classes[name](signature, *args, **kwargs)
        return aware(signature, *args, session_context=self._context, **kwargs)

    async def _name(self, variable: str) -> str:
        found = await self._session.describe_async([variable])
        return pick(found[variable].value, self._classes, variable, secret=found[variable].secret)


async def create_variable_aware_module(
    session_context: Any,
    module: str | type,
    signature: Any,
    *args: Any,
    variable_bindings: Bindings | None = None,
    **kwargs: Any,
) -> Any:
    """A bound module of a class or of the name of one; further arguments go to the class.

    A class that has no variable-aware one is instantiated as it is, and bound.

    Raises:
        UnknownModuleError: no module has that name.
        BindingError, VariableNotFoundError, ModelNotAllowedError: as `bind`.
    """
    if isinstance(module, str):
        name = pick(module, MODULE_REGISTRY, "(the module argument)")
        cls: Any = AWARE.get(name) or MODULE_REGISTRY[name]
    else:
        aware = (AWARE[name] for name, known in MODULE_REGISTRY.items() if known is module and name in AWARE)
        cls = next(aware, module)
    if issubclass(cls, VariableAwareMixin):
        made = cls(signature, *args, session_context=session_context, **kwargs)
    else:
        made = cls(signature, *args, **kwargs)
    return await bind_async(made, variable_bindings or {}, session=session_context)
