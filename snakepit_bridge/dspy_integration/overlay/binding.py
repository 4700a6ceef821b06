"""One binding: which variable gives which target its value."""

from __future__ import annotations

import copy
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from snakepit_bridge._variables.display import WITHHELD
from snakepit_bridge.dspy_integration.overlay.formatted import written
from snakepit_bridge.dspy_integration.targets.generation import Fit
from snakepit_bridge.dspy_integration.targets.target import MISSING, Target
from snakepit_bridge.exceptions import BindingError, ModelNotAllowedError, VariableNotFoundError

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session
    from snakepit_bridge._variables.mirror import Snapshot, VariableState
    from snakepit_bridge._variables.variables import Variable
    from snakepit_bridge.dspy_integration.targets.models import ModelChoice


Refresh = Literal["call", "step"]


@dataclass(frozen=True, slots=True)
class Var:
    """The variable of a binding, with what to use where there is none.

    Attributes:
        name: the variable's name.
        default: the value while the variable does not exist. Also while no value is to be had from the server, none
            read before or none recent enough, if all bindings of the called program have one. Else both are errors.
        refresh: "call" or "step" for this binding alone; None: as `bind` is told.
    """

    name: str
    default: Any = MISSING
    refresh: Refresh | None = None


_released: deque[tuple[Session, str]] = deque()
_serials = itertools.count(1)


class Lease:
    """Keeps a name in a session's mirror for as long as a binding, or a copy of it, is alive."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        session.track([name])

    def __del__(self) -> None:
        # A collection may run anywhere, also under the mirror's lock: so only note it here.
        _released.append((self._session, self._name))


def drop_released() -> None:
    """Takes the names of dead bindings out of their mirrors."""
    while _released:
        try:
            session, name = _released.popleft()
        except IndexError:
            return
        session.untrack([name])


class Observer(Protocol):
    """The program that a binding is part of, as a view uses it."""

    def observe(self, session: Session, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
        """Notes a snapshot that the program took; tells its callbacks what changed."""


class Binding:
    """A target, its variable, and how a value becomes what the target wants.

    It refers to no module, so that copying a part of a program copies no more than that part. A copy of a program
    has copies of its bindings, which share the session and carry no callbacks.
    """

    def __init__(
        self,
        target: Target,
        var: Var,
        *,
        session: Session,
        fit: Fit | None,
        models: ModelChoice | None,
        step: bool,
        described: Variable | None,
    ) -> None:
        self.target = target
        self.path = target.path
        self.variable = var.name
        self.default = var.default
        self.session = session
        self.fit = fit
        self.models = models
        self.step = step
        self.described = described
        self.serial = next(_serials)
        self.callbacks: list[Callable[[str, Any, Any], object]] = []
        self.program: Observer | None = None
        # Of the tables that its value is looked up in, the names.
        self.needs: dict[str, list[str]] = {}
        self.lease = Lease(session, var.name)
        self._last: tuple[VariableState | None, Any] = (None, MISSING)

    def __deepcopy__(self, memo: dict[int, Any]) -> Binding:
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin.callbacks = []
        twin.program = copy.deepcopy(self.program, memo)
        return twin

    def is_twin(self, other: Binding) -> bool:
        """Whether the other one is this one or a copy: what either gives to a module that both reach is the same."""
        return self.lease is other.lease

    def value_in(self, snapshot: Snapshot) -> Any:
        """The value that the target has in a snapshot, ready for DSPy. None means "leave it out".

        Bound since the snapshot was taken, it has the newest value known.

        Raises:
            VariableNotFoundError: the variable is gone and there is no default.
            BindingError: its value is not one that the target takes.
        """
        if self.variable not in snapshot.names:
            return self.newest_value()
        return _own(self._convert_state(snapshot.variables.get(self.variable)))

    def check_in(self, snapshot: Snapshot) -> None:
        """Raises what `value_in` would raise."""
        self._convert_state(snapshot.variables.get(self.variable))

    def newest_value(self) -> Any:
        """The value in the newest snapshot that the context has seen; without an rpc."""
        state, version = self.newest_state()
        if state is None and version is not None and self.described is not None:
            return _own(self.convert(self.described.value))
        return _own(self._convert_state(state))

    def newest_state(self) -> tuple[VariableState | None, int | None]:
        """The newest state and version known; no state with a version: only what bind itself was told."""
        newest = self.session.newest()
        if newest is not None and self.variable in newest.names:
            state = newest.variables.get(self.variable)
            return state, state.version if state is not None else None
        return None, self.described.version if self.described is not None else None

    @property
    def secret(self) -> bool:
        """Whether the variable is a secret, as far as this context has heard."""
        state, _ = self.newest_state()
        return (self.described is not None and self.described.secret) or (state is not None and state.secret)

    def lm_for(self, base: Any, value: Any) -> Any:
        """The LM that a value of a bound model means, as `ModelChoice.lm_for`. Names no secret."""
        if self.models is None:
            return base
        try:
            return self.models.lm_for(base, value)
        except ModelNotAllowedError:
            if not self.secret:
                raise
            raise ModelNotAllowedError(
                f"{self.path!r} may not switch to the model that secret variable {self.variable!r} names",
                {"path": self.path, "variable": self.variable, "model": WITHHELD},
            ) from None

    def _convert_state(self, state: VariableState | None) -> Any:
        last = self._last
        if state is not None and last[0] is state:
            return last[1]
        if state is None:
            if self.default is MISSING:
                raise VariableNotFoundError(
                    f"{self.path!r} is bound to variable {self.variable!r}, which no longer exists in session "
                    f"{self.session.session_id!r}. Register it again, unbind the path, or bind it as "
                    f"sb.Var({self.variable!r}, default=...)",
                    {"session": self.session.session_id, "variable": self.variable, "path": self.path, "closest": ""},
                )
            return self.convert(self.default)
        if state.redacted:
            raise self._withheld()
        converted = self.convert(state.value)
        self._last = (state, converted)
        return converted

    def convert(self, value: Any) -> Any:
        """Checks and coerces a value of the variable.

        Raises:
            BindingError: the target does not take it.
            ModelNotAllowedError: it names a model that is not in `models=`.
        """
        if value is None or self.fit is None:
            return value
        try:
            converted = self.fit.coerce(value)
        except (ValueError, TypeError):
            shown = written(value, 80, secret=self.secret)
            raise BindingError(
                f"{self.path!r} is bound to variable {self.variable!r}, but its value {shown} does not fit: "
                f"it takes {self.fit.allowed}. Set the variable to that",
                {"path": self.path, "variable": self.variable, "allowed": self.fit.allowed},
            ) from None
        # Without a base this checks what can be known of the name alone.
        self.lm_for(None, converted)
        return converted

    def check_at_bind(self) -> None:
        """Refuses a variable that cannot hold what the target takes, and a present value or default that is not it.

        Raises:
            BindingError: as said.
            ModelNotAllowedError: as `convert`.
        """
        if self.default is not MISSING:
            self.convert(self.default)
        found = self.described
        if found is None:
            return
        if found.redacted:
            raise self._withheld()
        if self.fit is not None and found.type not in self.fit.types:
            raise BindingError(
                f"cannot bind {self.path!r} to variable {found.name!r} of type {found.type}: it takes "
                f"{self.fit.allowed}, from a variable of type {' or '.join(sorted(self.fit.types))}",
                {"path": self.path, "variable": found.name, "type": found.type, "allowed": self.fit.allowed},
            )
        self.convert(found.value)

    def _withheld(self) -> BindingError:
        return BindingError(
            f"{self.path!r} cannot follow variable {self.variable!r}: it is secret, and this client may not read it",
            {"path": self.path, "variable": self.variable},
        )


def _own(value: Any) -> Any:
    # The mirror's values are shared by every reader.
    return copy.deepcopy(value) if isinstance(value, list | dict) else value


def same(one: Any, other: Any) -> bool:
    """Whether a value is unchanged; NaN is NaN, 1 is not 1.0, arrays compare by content."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    try:
        return bool(one == other)
    except ValueError:
        return one.dtype == other.dtype and one.shape == other.shape and bytes(one.tobytes()) == bytes(other.tobytes())
