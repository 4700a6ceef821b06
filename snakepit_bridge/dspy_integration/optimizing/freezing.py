"""Plain copies of bound programs: for optimizers, for keeping, for where there is no session."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import LM
from snakepit_bridge.dspy_integration.modules.modules import AWARE
from snakepit_bridge.dspy_integration.overlay.binding import Binding
from snakepit_bridge.dspy_integration.overlay.call_context import active, find
from snakepit_bridge.dspy_integration.overlay.classes import Overlaid, discard_overlay
from snakepit_bridge.dspy_integration.overlay.descriptors import store
from snakepit_bridge.dspy_integration.overlay.overlay import check_snapshot, overlay_of
from snakepit_bridge.dspy_integration.targets.paths import walk
from snakepit_bridge.exceptions import BindingError

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session
    from snakepit_bridge._variables.mirror import Snapshot

P = TypeVar("P")

logger = logging.getLogger("snakepit_bridge.dspy_integration.freezing")

_RECORD = "_snakepit_frozen"


def freeze(program: P) -> P:
    """A copy that is bound to nothing and has, as its own, the values that the program's variables have now.

    It is of the plain classes, knows no session, and is pickled, saved and loaded by DSPy alone. Give it to an
    optimizer, which then measures what it tries, and what comes out to `publish`. It remembers the versions of the
    variables for that, through copies and pickles. The program itself stays as it is, and live.

    Costs one rpc for each session; inside `with sb.snapshot(ctx)`, or inside a call, none: then it has the values of
    that snapshot. Values of secret variables are in the copy, as in a request.

    A bound model becomes the `lm` of the predictors. Optimizers that reset a program (BootstrapFewShot, and those built
    on it) drop that, as they do with every program: run them inside `dspy.context(lm=plain.get_lm())`.

    Raises:
        BindingError, ModelNotAllowedError, VariableNotFoundError: as a call of the program would.
        ServerUnavailableError: no answer, and nothing recent enough is known.
    """
    wanted = variables_of(program)
    taken = {session: _held(session, names) or session.take() for session, names in wanted.items()}
    return _frozen(program, taken)


async def freeze_async(program: P) -> P:
    """`freeze`, without blocking the loop."""
    wanted = variables_of(program)
    taken = {session: _held(session, names) or await session.take_async() for session, names in wanted.items()}
    return _frozen(program, taken)


@dataclass(frozen=True, slots=True)
class Record:
    """What a frozen program remembers of one session.

    Attributes:
        incarnation: the life of the session, in hexadecimal.
        versions: variable -> version; 0: there was none, so that the binding's default was in use.
    """

    incarnation: str
    versions: Mapping[str, int]


def records_of(program: Any) -> dict[str, Record]:
    """What a frozen program, or what an optimizer made of it, remembers: session id -> record."""
    # Text: DSPy looks for parameters in lists and dicts, and a pickle has to load where this package is not.
    remembered: dict[str, dict[str, Any]] = json.loads(vars(program).get(_RECORD, "{}"))
    return {session_id: Record(**record) for session_id, record in remembered.items()}


def served_by(module: Any) -> dict[tuple[str, str], Binding]:
    """The bindings in effect on a module, by what they give it: (kind, name)."""
    overlay = overlay_of(module)
    if overlay is None:
        return {}
    served = {slot: won.binding for slot, won in overlay.view.winners.items()}
    own = {("attribute", name): named for name, named in overlay.names.items() if named.target.kind == "attribute"}
    return served | own


def variables_of(program: Any) -> dict[Session, list[str]]:
    """The variables in effect anywhere in a program, by session.

    Raises:
        BindingError: it is no program.
    """
    if not isinstance(program, dspy.Module):
        raise BindingError(f"{program!r} is no dspy.Module, which alone follows variables")
    found: dict[Session, dict[str, None]] = {}
    for _, module in walk(program):
        for binding in served_by(module).values():
            found.setdefault(binding.session, {})[binding.variable] = None
    return {session: list(names) for session, names in found.items()}


def plain_copy(program: P, value_of: Callable[[Binding], Any]) -> P:
    """A copy without bindings, in which everything bound has the value that `value_of` gives."""
    copied: Any = program.deepcopy()  # type: ignore[attr-defined]
    lms: dict[int, tuple[Any, Any]] = {}
    modules = [module for _, module in walk(copied)]
    for module in modules:
        for binding in served_by(module).values():
            _bake(module, binding, value_of(binding), lms)
    for module in modules:
        discard_overlay(module)
        cls = type(module)
        if cls in AWARE.values():
            module.__class__ = next(base for base in cls.__mro__ if not issubclass(base, Overlaid))
    return copied  # type: ignore[no-any-return]


def _held(session: Session, names: list[str]) -> Snapshot | None:
    scope = find(active(), session)
    return scope.snapshot if scope is not None and scope.snapshot.names.issuperset(names) else None


def _frozen(program: P, taken: Mapping[Session, Snapshot]) -> P:
    for _, module in walk(program):
        overlay = overlay_of(module)
        if overlay is not None and overlay.program is not None:
            for session, snapshot in taken.items():
                check_snapshot(overlay.view, module, session, snapshot)
    copied = plain_copy(program, lambda binding: binding.value_in(taken[binding.session]))
    _warn_of_adapters(program, taken)
    remembered = {
        session.session_id: {
            "incarnation": taken[session].incarnation.hex(),
            "versions": {name: _version(taken[session], name) for name in names},
        }
        for session, names in variables_of(program).items()
    }
    if remembered:
        vars(copied)[_RECORD] = json.dumps(remembered)
    return copied


def _warn_of_adapters(program: Any, taken: Mapping[Session, Snapshot]) -> None:
    """A plain module has no adapter of its own: whoever compiles it has to say which."""
    for _, module in walk(program):
        for binding in served_by(module).values():
            adapter = binding.value_in(taken[binding.session]) if binding.target.kind == "adapter" else None
            if adapter is not None:
                name = type(adapter).__name__
                logger.warning(
                    "a frozen program has no %r: use it inside dspy.context(adapter=%s())", binding.path, name
                )


def _version(snapshot: Snapshot, name: str) -> int:
    return snapshot.variables[name].version if name in snapshot.variables else 0


def _bake(module: Any, binding: Binding, value: Any, lms: dict[int, tuple[Any, Any]]) -> None:
    state = vars(module)
    kind = binding.target.kind
    if kind == "attribute":
        state[binding.target.name] = _without_history(value, lms) if isinstance(value, dspy.BaseLM) else value
    elif kind == "parameter" or value is not None:
        plain = state.get(LM)
        store(module, binding, value)
        chosen = state.get(LM)
        if plain is None and chosen is dspy.settings.lm:
            state[LM] = None
        elif chosen is not plain:
            state[LM] = _without_history(chosen, lms)


def _without_history(lm: Any, lms: dict[int, tuple[Any, Any]]) -> Any:
    """A copy of an LM, one for all that share it. Every copy of the program would copy the history too."""
    if id(lm) not in lms:
        lms[id(lm)] = (lm, lm.copy())
    return lms[id(lm)][1]
