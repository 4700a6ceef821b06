"""Binding a program's parameters to variables."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import dspy

from snakepit_bridge.dspy_integration.attributes import install
from snakepit_bridge.dspy_integration.binding import MISSING, Binding, Refresh, Target, Var, drop_released
from snakepit_bridge.dspy_integration.lookup import bound, program_of
from snakepit_bridge.dspy_integration.models import ModelChoice
from snakepit_bridge.dspy_integration.overlaid import discard_overlay, ensure_overlay
from snakepit_bridge.dspy_integration.overlay import Candidate, check_demos, overlay_of
from snakepit_bridge.dspy_integration.program import Program
from snakepit_bridge.dspy_integration.targets import Site, locate
from snakepit_bridge.exceptions import BindingError
from snakepit_bridge.session import Session
from snakepit_bridge.session_context import session_of
from snakepit_bridge.variables import Variable

logger = logging.getLogger(__name__)

Bindings = Mapping[str, str | Var]
P = TypeVar("P")

_lock = threading.Lock()


def bind(
    program: P,
    bindings: Bindings,
    *,
    session: Any = None,
    refresh: Refresh = "call",
    models: Mapping[str, Any] | None = None,
) -> P:
    """Binds parameters of a program to variables, in place: each call then uses the variables' values.

    Costs one rpc; nothing is bound if anything is refused. A path that is bound already is bound anew.

    Args:
        program: a `dspy.Module`.
        bindings: path -> variable, or `Var` with more. A path ends in a generation parameter ("temperature",
            "lm.top_k"), "model", "instructions", "demos" or a plain attribute ("k", "self.k"), after steps to the
            object that it stands on ("generate.temperature", "steps[0].k", "choices['x'].model"). A generation
            parameter of a module that contains predictors is meant for all of them; the longer path wins.
        session: a SessionContext or its blocking twin. May be left out for a variable-aware module that has one.
        refresh: "call": one snapshot for a whole call. "step": also a new one for each predictor call, for agents that
            run long. A `Var` may say its own.
        models: for "model", the LMs that may be chosen, by name. Without it a model of the same provider as the
            predictor's LM may be chosen.

    Returns:
        The same object.

    Raises:
        BindingError: a path names nothing that can be bound, or the variable cannot hold what it takes.
        VariableNotFoundError: no such variable, and no default.
        ModelNotAllowedError: the model variable names a model that may not be chosen.
        ServerUnavailableError: no answer, whatever the defaults.
    """
    plan = _plan(program, bindings, session, refresh, models)
    if plan.sites:
        found = plan.session.describe(plan.names, allow_missing=plan.lenient)
        if plan.lenient and (missing := plan.missing(found)):
            plan.session.describe(missing)
        _commit(plan, found)
    return program


async def bind_async(
    program: P,
    bindings: Bindings,
    *,
    session: Any = None,
    refresh: Refresh = "call",
    models: Mapping[str, Any] | None = None,
) -> P:
    """`bind`, without blocking the loop."""
    plan = _plan(program, bindings, session, refresh, models)
    if plan.sites:
        found = await plan.session.describe_async(plan.names, allow_missing=plan.lenient)
        if plan.lenient and (missing := plan.missing(found)):
            await plan.session.describe_async(missing)
        _commit(plan, found)
    return program


def bind_matching(
    program: P, *, session: Any = None, refresh: Refresh = "call", models: Mapping[str, Any] | None = None
) -> P:
    """Binds every variable whose name is a path of the program: "temperature", "generate.max_tokens", "k".

    Costs two rpcs. Binds nothing if no name matches.

    Raises:
        BindingError: a variable has such a name but cannot hold what that takes, or the name has two meanings.
    """
    matching = _matching(program, _session_for(program, session).list(""))
    models = models if "model" in _ends(matching) else None
    return bind(program, matching, session=session, refresh=refresh, models=models)


async def bind_matching_async(
    program: P, *, session: Any = None, refresh: Refresh = "call", models: Mapping[str, Any] | None = None
) -> P:
    """`bind_matching`, without blocking the loop."""
    matching = _matching(program, await _session_for(program, session).list_async(""))
    models = models if "model" in _ends(matching) else None
    return await bind_async(program, matching, session=session, refresh=refresh, models=models)


def unbind(program: Any, path: str | None = None) -> None:
    """Gives a path, or all, the plain value back. When it returns, none of its callbacks is called any more.

    Raises:
        BindingError: the path is not bound.
    """
    with _lock:
        found = [bound(program, path)] if path is not None else list(program_of(program).bindings.values())
        for binding in found:
            _remove(program, binding)
        drop_released()
    _say("unbound", program, found)


@dataclass(frozen=True, slots=True)
class _Plan:
    program: Any
    session: Session
    sites: tuple[tuple[Site, Var], ...]
    refresh: Refresh
    models: Mapping[str, Any] | None

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(var.name for _, var in self.sites))

    @property
    def lenient(self) -> bool:
        return any(var.default is not MISSING for _, var in self.sites)

    def missing(self, found: Mapping[str, Variable]) -> list[str]:
        return [var.name for _, var in self.sites if var.default is MISSING and var.name not in found]


def _plan(program: Any, wanted: Bindings, session: Any, refresh: Refresh, models: Mapping[str, Any] | None) -> _Plan:
    if not isinstance(program, dspy.Module):
        raise BindingError(f"only a dspy.Module can be bound, not {program!r}")
    _check(refresh)
    sites: dict[Target, tuple[Site, Var]] = {}
    for path, variable in wanted.items():
        var = Var(variable) if isinstance(variable, str) else variable
        if not isinstance(var, Var) or not isinstance(var.name, str):
            raise BindingError(
                f"{path!r} is bound to the name of a variable or an sb.Var, not {variable!r}", {"path": path}
            )
        _check(var.refresh or refresh)
        site = locate(program, path)
        if site.target in sites:
            raise BindingError(f"{path!r} is bound twice", {"path": path})
        sites[site.target] = (site, var)
    if models is not None and all(target.kind != "model" for target in sites):
        raise BindingError("models= is the table of a bound model, but no path ends in 'model'")
    return _Plan(program, _session_for(program, session), tuple(sites.values()), refresh, models)


def _check(refresh: str) -> None:
    if refresh not in {"call", "step"}:
        raise BindingError(f"refresh is 'call' or 'step', not {refresh!r}")


def _session_for(program: Any, session: Any) -> Session:
    if session is None and isinstance(program, dspy.Module):
        overlay = overlay_of(program)
        session = overlay.context if overlay is not None else None
    if session is None:
        raise BindingError("say which session the variables are in: session=")
    return session_of(session)


def _commit(plan: _Plan, found: Mapping[str, Variable]) -> None:
    with _lock:
        made = [(site, _make(plan, site, var, found.get(var.name))) for site, var in plan.sites]
        root = ensure_overlay(plan.program)
        root.program = root.program or Program()
        replaced: list[Binding | None] = []
        for site, binding in made:
            replaced.append(root.program.bindings.get(site.target))
            root.program.add(binding)
            _attach(plan.program, site, binding)
        for module in _modules(plan.program):
            overlay = overlay_of(module)
            if overlay is not None:
                # The new one wins over the one it replaces, so that no call in between has neither.
                overlay.rebuild()
                for old in replaced:
                    if old is not None:
                        overlay.drop(old)
        drop_released()
    _say("bound", plan.program, [binding for _, binding in made])


def _say(done: str, program: Any, found: Sequence[Binding]) -> None:
    if found and logger.isEnabledFor(logging.INFO):
        paths = ", ".join(f"{binding.path} <- {binding.variable}" for binding in found)
        logger.info("%s a %s, session %r: %s", done, type(program).__name__, found[0].session.session_id, paths)


def _make(plan: _Plan, site: Site, var: Var, described: Variable | None) -> Binding:
    target = site.target
    models = ModelChoice(target.path, var.name, plan.models) if target.kind == "model" else None
    step = (var.refresh or plan.refresh) == "step"
    binding = Binding(target, var, session=plan.session, fit=site.fit, models=models, step=step, described=described)
    binding.check_at_bind()
    value = described.value if described is not None else var.default
    for reached in site.reached if value is not None and value is not MISSING else ():
        state = vars(reached.predictor)
        if models is not None:
            binding.lm_for(state["lm"] or dspy.settings.lm, value)
        elif target.kind == "demos":
            check_demos(binding, binding.convert(value), state["signature"])
    return binding


def _attach(program: Any, site: Site, binding: Binding) -> None:
    target = site.target
    owner = ensure_overlay(site.owner)
    # Where the name is an attribute already, its own reads go on as they are.
    if target.said != "lm" and not (target.name == "demos" and isinstance(site.owner, dspy.Predict)):
        install(type(site.owner), target.name)
        owner.names = {**owner.names, target.name: binding}
    for reached in site.reached:
        candidate = Candidate(reached.distance, binding, reached.task)
        ensure_overlay(reached.predictor).offer((target.kind, target.name), candidate)
    for module in _around(program, site):
        overlay = ensure_overlay(module)
        overlay.through = [*overlay.through, binding]


def _around(program: Any, site: Site) -> list[Any]:
    """The modules whose call should take the snapshot, because more than one read of the binding is inside it."""
    found = [module for module in _modules(site.owner) if site.reached and not isinstance(module, dspy.Predict)]
    step: Any = program
    for name in site.target.owner:
        step = step[name[0]] if isinstance(name, tuple) else getattr(step, name)
        if isinstance(step, dspy.Module) and not isinstance(step, dspy.Predict):
            found.append(step)
    return list({id(module): module for module in found}.values())


def _modules(program: Any) -> Sequence[Any]:
    return [module for _, module in program.named_sub_modules(type_=dspy.Module)]


def _remove(program: Any, binding: Binding) -> None:
    program_of(program).remove(binding.target)
    for module in _modules(program):
        overlay = overlay_of(module)
        if overlay is None:
            continue
        overlay.drop(binding)
        if overlay.program is not None and not overlay.program.bindings:
            overlay.program = None
        if overlay.empty:
            discard_overlay(module)


def _matching(program: Any, listed: Sequence[Variable]) -> dict[str, str | Var]:
    if not isinstance(program, dspy.Module):
        raise BindingError(f"only a dspy.Module can be bound, not {program!r}")
    found: dict[str, str | Var] = {}
    for variable in listed:
        try:
            locate(program, variable.name)
        except BindingError as error:
            if "ambiguous" in error.facts:
                raise
        else:
            found[variable.name] = variable.name
    return found


def _ends(paths: Mapping[str, Any]) -> set[str]:
    return {path.rpartition(".")[2] for path in paths}
