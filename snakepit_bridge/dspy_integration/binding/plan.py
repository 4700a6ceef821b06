"""What a bind call comes to before anything is changed: which targets, with which variables of which session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from snakepit_bridge._context.session import Session
from snakepit_bridge._variables.variables import Variable
from snakepit_bridge.dspy_integration.overlay.binding import Refresh, Var
from snakepit_bridge.dspy_integration.overlay.overlay import overlay_of
from snakepit_bridge.dspy_integration.targets.locate import Site, locate
from snakepit_bridge.dspy_integration.targets.registries import USERS, Tables
from snakepit_bridge.dspy_integration.targets.target import MISSING, Target
from snakepit_bridge.exceptions import BindingError
from snakepit_bridge.session_context import session_of

Bindings = Mapping[str, str | Var]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to bind.

    Attributes:
        sites: what each path means, and its variable.
        refresh: where a `Var` does not say its own.
        tables: what names in variables stand for.
    """

    program: Any
    session: Session
    sites: tuple[tuple[Site, Var], ...]
    refresh: Refresh
    tables: Tables

    @property
    def names(self) -> list[str]:
        """The variables, each once."""
        return list(dict.fromkeys(var.name for _, var in self.sites))

    @property
    def lenient(self) -> bool:
        """Whether some variable need not exist."""
        return any(var.default is not MISSING for _, var in self.sites)

    def missing(self, found: Mapping[str, Variable]) -> list[str]:
        """The variables that have to exist, and do not."""
        return [var.name for _, var in self.sites if var.default is MISSING and var.name not in found]


def plan_of(program: Any, wanted: Bindings, session: Any, refresh: Refresh, tables: Tables) -> Plan:
    """Finds what the paths of a bind call mean.

    Raises:
        BindingError: one of them means nothing that can be bound, or the call contradicts itself.
    """
    if not isinstance(program, dspy.Module):
        raise BindingError(f"only a dspy.Module can be bound, not {program!r}")
    _check(refresh)
    if unknown := set(tables) - Tables.__optional_keys__:
        raise TypeError(f"bind() takes no argument {min(unknown)!r}")
    sites: dict[Target, tuple[Site, Var]] = {}
    for path, variable in wanted.items():
        var = Var(variable) if isinstance(variable, str) else variable
        if not isinstance(var, Var) or not isinstance(var.name, str):
            raise BindingError(
                f"{path!r} is bound to the name of a variable or an sb.Var, not {variable!r}", {"path": path}
            )
        _check(var.refresh or refresh)
        site = locate(program, path, tables)
        if site.target in sites:
            raise BindingError(f"{path!r} is bound twice", {"path": path})
        if site.target.slot[0] == "model" and site.target.name == "lm" and tables.get("models") is None:
            raise BindingError(
                f"{path!r} follows the name of an LM: give sb.bind models={{name: dspy.LM(...)}}", {"path": path}
            )
        sites[site.target] = (site, var)
    return Plan(program, session_for(program, session), tuple(sites.values()), refresh, tables)


def refuse_idle(plan: Plan) -> None:
    """Raises BindingError if a table was given that no path chooses from."""
    used = {site.table for site, _ in plan.sites}
    for table, given in plan.tables.items():
        if given is not None and table not in used:
            raise BindingError(f"{table}= was given, but no path chooses from it: there is none to {USERS[table]}")


def _check(refresh: str) -> None:
    if refresh not in {"call", "step"}:
        raise BindingError(f"refresh is 'call' or 'step', not {refresh!r}")


def session_for(program: Any, session: Any) -> Session:
    """The session that was given, or that of a variable-aware module. Raises BindingError if there is none."""
    if session is None and isinstance(program, dspy.Module):
        overlay = overlay_of(program)
        session = overlay.context if overlay is not None else None
    if session is None:
        raise BindingError("say which session the variables are in: session=")
    return session_of(session)


def find_matching(program: Any, listed: Sequence[Variable], tables: Tables) -> dict[str, str | Var]:
    """The variables whose names are paths of a program. Raises BindingError if a name has two meanings."""
    if not isinstance(program, dspy.Module):
        raise BindingError(f"only a dspy.Module can be bound, not {program!r}")
    found: dict[str, str | Var] = {}
    for variable in listed:
        if variable.name.rpartition(".")[2] == "lm" and tables.get("models") is None:
            continue
        try:
            locate(program, variable.name, tables)
        except BindingError as error:
            if "ambiguous" in error.facts:
                raise
        else:
            found[variable.name] = variable.name
    return found
