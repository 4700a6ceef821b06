"""Which bindings a module reads, worked out: what wins, and whether a snapshot has what they need."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy

from snakepit_bridge._variables.mirror import Snapshot
from snakepit_bridge.dspy_integration.overlay.binding import Binding
from snakepit_bridge.dspy_integration.overlay.call_context import Scope, find
from snakepit_bridge.dspy_integration.targets.prompts import dropped_demos
from snakepit_bridge.dspy_integration.targets.target import MISSING
from snakepit_bridge.exceptions import BindingError, ServerUnavailableError

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session

logger = logging.getLogger("snakepit_bridge.dspy_integration.view")

Slot = tuple[str, str]
"""A target's kind and name, without its owner."""


class Candidate(NamedTuple):
    """A binding that would give a predictor something.

    Attributes:
        distance: how far above the module the binding's owner is; the nearest wins, then the latest.
        task: for the instructions inside an agent, the task text in the prompt that DSPy wrote around it.
        key: for demos of several predictors in one map, this one's name in it.
    """

    distance: int
    binding: Binding
    task: str | None = None
    key: str | None = None


class View:
    """What an overlay comes to, precomputed and immutable, so that a call in progress sees one state of it."""

    def __init__(
        self,
        *,
        predictor: bool = False,
        candidates: Mapping[Slot, Sequence[Candidate]] = MappingProxyType({}),
        names: Mapping[str, Binding] = MappingProxyType({}),
        through: Iterable[Binding] = (),
        own: Iterable[Binding] = (),
    ) -> None:
        winners = {
            slot: min(found, key=lambda candidate: (candidate.distance, -candidate.binding.serial))
            for slot, found in candidates.items()
        }
        self.winners = winners
        self.parameters = {name: won.binding for (kind, name), won in winners.items() if kind == "parameter"}
        self.model = _binding(winners.get(("model", "model")))
        self.instructions = winners.get(("instructions", "instructions"))
        self.demos = winners.get(("demos", "demos"))
        self.descriptions = {name: won.binding for (kind, name), won in winners.items() if kind == "description"}
        self.tools = _binding(winners.get(("tools", "tools")))
        self.adapter = _binding(winners.get(("adapter", "adapter")))
        self.names = dict(names)
        found = [won.binding for won in winners.values()]
        self.bindings = tuple(dict.fromkeys([*found, *self.names.values(), *through, *own]))
        programs = (binding.program for binding in self.bindings)
        self.programs = tuple(dict.fromkeys(program for program in programs if program is not None))
        self.sessions: tuple[Session, ...] = tuple(dict.fromkeys(binding.session for binding in self.bindings))
        self.wanted = {
            session: frozenset(binding.variable for binding in self.bindings if binding.session is session)
            for session in self.sessions
        }
        self.step = predictor and any(binding.step for binding in self.bindings)
        self.checked: dict[Session, Mapping[str, Any]] = {}
        self.covering: Snapshot | None = None

    def covered_by(self, scope: Scope | None) -> bool:
        """Whether a call inside `scope` needs no snapshot of its own."""
        return scope is not None and all(self.covered(scope, session) for session in self.sessions)

    def covered(self, scope: Scope | None, session: Session) -> bool:
        """Whether a call inside `scope` needs no snapshot of one session."""
        found = find(scope, session)
        if found is None or (self.step and not found.pinned):
            return False
        if found.snapshot is self.covering or self.wanted[session] <= found.snapshot.names:
            self.covering = found.snapshot
            return True
        return False

    def defaults(self, session: Session, wanted: Sequence[Binding], error: ServerUnavailableError) -> Snapshot:
        """The snapshot to go on with when none is to be had and each binding wanted has its default.

        Else raises `error`.
        """
        if not wanted or any(binding.default is MISSING for binding in wanted):
            raise error
        logger.warning("using the defaults of %d bindings: %s", len(wanted), error)
        return Snapshot(session.session_id, b"", 0, {}, self.wanted[session])


def _binding(won: Candidate | None) -> Binding | None:
    return won.binding if won is not None else None


def choose_model(binding: Binding, base: Any, snapshot: Snapshot) -> Any:
    """The LM that a model binding means in a snapshot, for a predictor whose own LM is `base`.

    Raises:
        ModelNotAllowedError: the binding may not switch to it.
    """
    base = base or dspy.settings.lm
    value = binding.value_in(snapshot)
    return base if value is None or binding.models is None else binding.lm_for(base, value)


def demos_for(found: Candidate, value: Any) -> list[Any] | None:
    """The demos that a binding's value has for a predictor; None if it says nothing of it."""
    demos: list[Any] | None = value if found.key is None or value is None else value.get(found.key)
    return demos


def check_demos(found: Candidate, value: Any, signature: Any) -> None:
    """Raises BindingError if a predictor of this signature would not use each of the demos."""
    binding = found.binding
    if dropped := dropped_demos(demos_for(found, value) or [], signature):
        raise BindingError(
            f"{binding.path!r} is bound to variable {binding.variable!r}, but its items {dropped} lack an input or an "
            f"output of the signature ({', '.join(signature.fields)}), so that DSPy would drop them from the prompt",
            {"path": binding.path, "variable": binding.variable},
        )
