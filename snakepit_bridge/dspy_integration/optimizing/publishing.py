"""Writing what an optimizer found into the variables that live programs follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, finish
from snakepit_bridge._variables import operations
from snakepit_bridge._variables.batch import Batch
from snakepit_bridge._variables.mirror import Snapshot, VariableState
from snakepit_bridge._variables.variables import Variable, infer_type
from snakepit_bridge.dspy_integration.optimizing.diff import Findings, compare
from snakepit_bridge.dspy_integration.optimizing.freezing import Record, plain_copy, records_of, variables_of
from snakepit_bridge.dspy_integration.overlay.overlay import overlay_of, reads_binding
from snakepit_bridge.dspy_integration.targets.paths import render, walk
from snakepit_bridge.exceptions import BindingError, SessionExpiredError

if TYPE_CHECKING:
    from snakepit_bridge._client.transport import Waiting
    from snakepit_bridge._context.session import Session


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` did. As text it is a short report.

    Attributes:
        written: path -> variable, where the variable has a new value.
        unchanged: path -> variable, where the optimizer left the value as it was.
        unbound: the paths of what the optimizer changed and no variable carries: live programs do not have it.
        revision: the session's revision with the result in it.
    """

    written: dict[str, str]
    unchanged: dict[str, str]
    unbound: tuple[str, ...]
    revision: int

    def __str__(self) -> str:
        lines = [f"revision {self.revision}"]
        for word, found in (("written", self.written), ("unchanged", self.unchanged)):
            lines += [f"  {word:<9} {variable}  ({path})" for path, variable in found.items()]
        return "\n".join([*lines, *(f"  unbound   {path}" for path in self.unbound)])


def publish(program: Any, optimized: Any, *, partial: bool = False, reason: str = "") -> Published:
    """Writes what an optimizer made of a frozen program into the variables of the live one, all at once or not at all.

    Every program bound to these variables, in any process, uses the result from its next forward on. Written is what
    differs from what the frozen program had. A variable is written only if it still has the version that `freeze` saw;
    what did not come from `freeze` in this session (but from a file, say) has to differ from the values of now, and
    replaces those. Publishing the same again does nothing. Costs two rpcs, and one more for each variable that has
    changed meanwhile.

    Args:
        program: the live program: the one that was frozen, or one that is made and bound in the same way.
        optimized: what the optimizer returned. A live program that it compiled is accepted too: what that still
            follows counts as unchanged.
        partial: whether to go on if the optimizer changed more than the variables can carry. It is reported either
            way. The `prefix` of a field, which COPRO writes and no adapter of DSPy sends, is only reported.
        reason: kept with the new versions of the variables.

    Raises:
        BindingError: nothing is bound; `optimized` is no copy of the program; it changed something that is not bound
            (facts: unbound), or to two values where one variable is bound (facts: variable, paths), or to what the
            bound path does not take.
        VersionConflictError: somebody else changed a variable meanwhile that would be written.
        SessionExpiredError: it was frozen in an earlier life of the session.
        VariableNotFoundError, TypeMismatchError, ConstraintError, VariableReadOnlyError: a variable does not take it.
    """
    return finish(_publish(BLOCKING, program, optimized, partial=partial, reason=reason))


async def publish_async(program: Any, optimized: Any, *, partial: bool = False, reason: str = "") -> Published:
    """`publish`, without blocking the loop."""
    return await _publish(ASYNCIO, program, optimized, partial=partial, reason=reason)


async def _publish(waiting: Waiting, program: Any, optimized: Any, *, partial: bool, reason: str) -> Published:
    wanted = variables_of(program)
    followed = variables_of(optimized)
    if not wanted:
        raise BindingError("nothing of this program is bound to a variable that could be written: sb.bind it first")
    if optimized is program or not followed.keys() <= wanted.keys():
        raise BindingError("give publish the live program, and what an optimizer made of sb.freeze(program)")
    remembered = records_of(optimized)
    seen: dict[Session, Snapshot] = {}
    described: dict[Session, Mapping[str, Variable]] = {}
    for session, names in wanted.items():
        described[session] = await operations.describe(session, waiting, names, allow_missing=True)
        record = remembered.get(session.session_id)
        seen[session] = await _seen(session, waiting, names, described[session], record)
    if followed:
        optimized = plain_copy(optimized, lambda binding: binding.value_in(seen[binding.session]))
    found = compare(program, optimized, seen, described)
    _refuse_half(found, partial=partial)
    revision = max(session.revision for session in wanted)
    written: set[tuple[Session, str]] = set()
    for session, values in found.values.items():
        batch = _batch(session, values, seen[session], described[session])
        outcomes = await operations.write(session, waiting, batch.operations, reason)
        written = {(session, outcome.name) for outcome in outcomes if outcome.changed}
        revision = outcomes[0].revision
    return _report(program, written, found, revision)


async def _seen(
    session: Session, waiting: Waiting, names: Iterable[str], described: Mapping[str, Variable], record: Record | None
) -> Snapshot:
    """What the frozen program was made from; without a record, what there is now."""
    if record is not None and record.incarnation != session.incarnation.hex():
        raise SessionExpiredError(
            f"this program was frozen in an earlier life of session {session.session_id!r}, whose versions say nothing "
            "of the variables that there are now. Freeze the program again, load the optimized state into that "
            "(plain.load_state(optimized.dump_state())), and publish it",
            {"session": session.session_id},
        )
    states: dict[str, VariableState] = {}
    for name in names:
        now = described.get(name)
        version = record.versions.get(name) if record is not None else None
        if version == 0 or (version is None and now is None):
            continue
        if now is not None and version in {None, now.version}:
            states[name] = VariableState(name, now.value, now.version, now.revision, now.redacted)
            continue
        history = await operations.history(session, waiting, name)
        kept = next((one for one in history if one.version == version), None)
        # Where the history does not go back so far, what is there now stands in: a difference is then a conflict.
        found = kept if kept is not None else now
        if found is not None:
            states[name] = VariableState(name, found.value, version or 0, found.revision, found.redacted)
    return Snapshot(
        session.session_id, session.incarnation, session.revision, MappingProxyType(states), frozenset(names)
    )


def _refuse_half(found: Findings, *, partial: bool) -> None:
    if found.unbound and not partial:
        raise BindingError(
            f"the optimizer also changed {', '.join(found.unbound)}, which no variable carries: live programs would "
            "have half of its result. Bind that too (sb.bind(program, {path: variable})) and publish again, or drop it "
            "with partial=True",
            {"unbound": ",".join(found.unbound)},
        )
    if len(found.values) > 1:
        raise BindingError(
            "the optimizer changed variables of more than one session, which cannot be written all at once: "
            + ", ".join(sorted(name for values in found.values.values() for name in values))
        )


def _batch(session: Session, values: Mapping[str, Any], seen: Snapshot, described: Mapping[str, Variable]) -> Batch:
    batch = Batch()
    for name, value in values.items():
        if name not in described and not session.settings.strict:
            batch.register(name, infer_type(name, value), value, expected_version=0)
            continue
        version = seen.variables[name].version if name in seen.variables else 0
        batch.set(name, value, expected_version=version)
    return batch


def _report(program: Any, written: set[tuple[Session, str]], found: Findings, revision: int) -> Published:
    report = Published({}, {}, (*found.unbound, *found.unsent), revision)
    for steps, module in walk(program):
        overlay = overlay_of(module)
        for binding in overlay.program.bindings.values() if overlay is not None and overlay.program is not None else ():
            if reads_binding(module, binding):
                path = ".".join(filter(None, (render(steps), binding.path)))
                new = (binding.session, binding.variable) in written
                (report.written if new else report.unchanged)[path] = binding.variable
    return report
