"""Binding a program's parameters to variables."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Unpack

import dspy

from snakepit_bridge._variables.variables import Variable
from snakepit_bridge.dspy_integration._dspy_internals import LM, SIGNATURE
from snakepit_bridge.dspy_integration.binding.lookup import bound, program_of
from snakepit_bridge.dspy_integration.binding.plan import (
    Bindings,
    Plan,
    find_matching,
    plan_of,
    refuse_idle,
    session_for,
)
from snakepit_bridge.dspy_integration.overlay.binding import Binding, Refresh, Var, drop_released
from snakepit_bridge.dspy_integration.overlay.classes import discard_overlay, ensure_overlay
from snakepit_bridge.dspy_integration.overlay.descriptors import install, install_tools
from snakepit_bridge.dspy_integration.overlay.overlay import overlay_of, publish
from snakepit_bridge.dspy_integration.overlay.program import Program
from snakepit_bridge.dspy_integration.overlay.versions import lock
from snakepit_bridge.dspy_integration.overlay.view import Candidate, check_demos
from snakepit_bridge.dspy_integration.targets.locate import Reached, Site
from snakepit_bridge.dspy_integration.targets.models import ModelChoice
from snakepit_bridge.dspy_integration.targets.registries import Tables, names_in
from snakepit_bridge.dspy_integration.targets.target import MISSING
from snakepit_bridge.dspy_integration.targets.toolsets import agent_of

logger = logging.getLogger("snakepit_bridge.dspy_integration.binder")

P = TypeVar("P")

_emptied: list[weakref.ref[Any]] = []


def bind(
    program: P,
    bindings: Bindings,
    *,
    session: Any = None,
    refresh: Refresh = "call",
    **tables: Unpack[Tables],
) -> P:
    """Binds parameters of a program to variables, in place: each call then uses the variables' values.

    Costs one rpc; nothing is bound if anything is refused. A path that is bound already is bound anew.

    Args:
        program: a `dspy.Module`.
        bindings: path -> variable, or `Var` with more. A path ends in a generation parameter ("temperature",
            "lm.top_k"), "model", "lm" (one of `models` by name), "instructions", "fields['answer'].desc", "demos",
            "adapter", an agent's "tools", or a plain attribute ("k", "self.k"), after steps to the object that it
            stands on ("generate.temperature", "steps[0].k", "choices['x'].model"). What shapes requests is, on a
            module that contains predictors, meant for all of them; the longer path wins.
        session: a SessionContext or its blocking twin. May be left out for a variable-aware module that has one.
        refresh: "call": one snapshot for a whole call. "step": also a new one for each predictor call, for agents that
            run long. A `Var` may say its own.
        **tables: the LMs, tools and adapters that names in variables stand for; see `Tables`.

    Returns:
        The same object.

    Raises:
        BindingError: a path names nothing that can be bound, or the variable cannot hold what it takes.
        VariableNotFoundError: no such variable, and no default.
        ModelNotAllowedError: the model variable names a model that may not be chosen.
        ServerUnavailableError: no answer, whatever the defaults.
    """
    plan = plan_of(program, bindings, session, refresh, tables)
    refuse_idle(plan)
    _carry_out(plan)
    return program


async def bind_async(
    program: P,
    bindings: Bindings,
    *,
    session: Any = None,
    refresh: Refresh = "call",
    **tables: Unpack[Tables],
) -> P:
    """`bind`, without blocking the loop."""
    plan = plan_of(program, bindings, session, refresh, tables)
    refuse_idle(plan)
    await _carry_out_async(plan)
    return program


def bind_matching(program: P, *, session: Any = None, refresh: Refresh = "call", **tables: Unpack[Tables]) -> P:
    """Binds every variable whose name is a path of the program: "temperature", "generate.max_tokens", "k".

    Costs two rpcs. Binds nothing if no name matches.

    Raises:
        BindingError: a variable has such a name but cannot hold what that takes, or the name has two meanings.
    """
    matching = find_matching(program, session_for(program, session).list(""), tables)
    _carry_out(plan_of(program, matching, session, refresh, tables))
    return program


async def bind_matching_async(
    program: P, *, session: Any = None, refresh: Refresh = "call", **tables: Unpack[Tables]
) -> P:
    """`bind_matching`, without blocking the loop."""
    matching = find_matching(program, await session_for(program, session).list_async(""), tables)
    await _carry_out_async(plan_of(program, matching, session, refresh, tables))
    return program


def unbind(program: Any, path: str | None = None) -> None:
    """Gives a path, or all, the plain value back. When it returns, none of its callbacks is called any more.

    Calls in progress go on with the bindings that they began with.

    Raises:
        BindingError: the path is not bound.
    """
    with lock:
        owner = program_of(program)
        removed = [bound(program, path)] if path is not None else list(owner.bindings.values())
        for binding in removed:
            owner.remove(binding.target)
        modules = _modules(program)
        for module in modules:
            overlay = overlay_of(module)
            if overlay is not None:
                for binding in removed:
                    overlay.release(binding)
                if overlay.program is not None and not overlay.program.bindings:
                    overlay.program = None
        _publish(modules)
    owner.settle()
    _say("unbound", program, removed)


def _carry_out(plan: Plan) -> None:
    if plan.sites:
        found = plan.session.describe(plan.names, allow_missing=plan.lenient)
        if plan.lenient and (missing := plan.missing(found)):
            plan.session.describe(missing)
        _commit(plan, found)


async def _carry_out_async(plan: Plan) -> None:
    if plan.sites:
        found = await plan.session.describe_async(plan.names, allow_missing=plan.lenient)
        if plan.lenient and (missing := plan.missing(found)):
            await plan.session.describe_async(missing)
        _commit(plan, found)


def _commit(plan: Plan, found: Mapping[str, Variable]) -> None:
    with lock:
        made = [(site, _make(plan, site, var, found.get(var.name))) for site, var in plan.sites]
        root = ensure_overlay(plan.program)
        root.program = root.program or Program()
        replaced: list[Binding | None] = []
        for site, binding in made:
            replaced.append(root.program.bindings.get(site.target))
            root.program.add(binding)
            _attach(plan.program, site, binding)
        modules = _modules(plan.program)
        for module in modules:
            overlay = overlay_of(module)
            for old in replaced:
                if old is not None and overlay is not None:
                    overlay.release(old)
        _publish(modules)
    root.program.settle()
    _say("bound", plan.program, [binding for _, binding in made])


def _publish(modules: Sequence[Any]) -> None:
    """Puts what was offered to modules and released by them into effect."""
    overlays = [overlay for overlay in map(overlay_of, modules) if overlay is not None]
    ended = publish({overlay: overlay.new_view() for overlay in overlays})
    _emptied.extend(weakref.ref(module) for module in modules if _is_empty(module))
    if ended() is None:
        # No call in progress reads through them any more.
        for module in filter(_is_empty, (emptied() for emptied in _emptied)):
            discard_overlay(module)
        _emptied.clear()
    drop_released()


def _is_empty(module: Any) -> bool:
    overlay = overlay_of(module) if module is not None else None
    return overlay is not None and overlay.empty


def _say(done: str, program: Any, found: Sequence[Binding]) -> None:
    if found and logger.isEnabledFor(logging.INFO):
        paths = ", ".join(f"{binding.path} <- {binding.variable}" for binding in found)
        logger.info("%s a %s, session %r: %s", done, type(program).__name__, found[0].session.session_id, paths)


def _make(plan: Plan, site: Site, var: Var, described: Variable | None) -> Binding:
    target = site.target
    models = ModelChoice(target.path, var.name, plan.tables.get("models")) if target.kind == "model" else None
    step = (var.refresh or plan.refresh) == "step"
    binding = Binding(target, var, session=plan.session, fit=site.fit, models=models, step=step, described=described)
    given = plan.tables.get(site.table) if site.table else None
    if site.table and given is not None:
        binding.needs = {site.table: names_in(given)}
    binding.check_at_bind()
    value = described.value if described is not None else var.default
    if value is None or value is MISSING:
        return binding
    for reached in site.reached:
        state = vars(reached.module)
        if models is not None:
            binding.lm_for(state[LM] or dspy.settings.lm, value)
        elif target.kind == "demos":
            check_demos(_candidate(reached, binding), binding.convert(value), state[SIGNATURE])
    return binding


def _candidate(reached: Reached, binding: Binding) -> Candidate:
    return Candidate(reached.distance, binding, reached.task, reached.key)


def _attach(program: Any, site: Site, binding: Binding) -> None:
    target = site.target
    owner = ensure_overlay(site.owner)
    if site.readable:
        install(type(site.owner), target.name)
        owner.names = {**owner.names, target.name: binding}
    if target.kind == "tools":
        agent = agent_of(site.owner)
        install_tools(type(site.owner), agent.attribute if agent is not None else "tools")
    for reached in site.reached:
        ensure_overlay(reached.module).offer(_candidate(reached, binding))
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
