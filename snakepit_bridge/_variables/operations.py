"""What a context writes to its session: always one atomic batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snakepit_bridge._variables import reads
from snakepit_bridge._variables.batch import Batch
from snakepit_bridge._variables.variables import Outcome, infer_type, outcomes_from_wire
from snakepit_bridge.exceptions import VariableNotFoundError, VersionConflictError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import Session
    from snakepit_bridge._client.transport import Waiting


async def write(
    session: Session, waiting: Waiting, operations: Sequence[pb.Operation], reason: str = ""
) -> list[Outcome]:
    """Applies operations as one write, under one idempotency key however often it is sent."""
    await session.open(waiting)
    if not operations:
        return []
    request = pb.WriteVariablesRequest(
        session_id=session.session_id,
        incarnation=session.incarnation,
        operations=operations,
        reason=reason,
        author=session.author,
        client_id=session.client_id,
        idempotency_key=os.urandom(8).hex(),
    )
    reply = await session.call(waiting, session.connection.variable.WriteVariables, request)
    session.saw(reply.revision)
    outcomes = outcomes_from_wire(reply)
    session.mirror.wrote(reply.revision, [outcome.name for outcome in outcomes if outcome.changed])
    return outcomes


async def set_all(
    session: Session,
    waiting: Waiting,
    values: Mapping[str, Any],
    *,
    expected_version: int | None = None,
    reason: str = "",
) -> list[Outcome]:
    """Sets variables as one write. Unless the session is strict, unknown ones are registered by what their value is."""
    batch = Batch()
    for name, value in values.items():
        batch.set(name, value, expected_version=expected_version)
    while True:
        try:
            return await write(session, waiting, batch.operations, reason)
        except VariableNotFoundError:
            if session.settings.strict or expected_version:
                raise
        existing = await reads.describe(session, waiting, list(values), allow_missing=True)
        batch = Batch()
        for name, value in values.items():
            if name in existing:
                batch.set(name, value)
            else:
                batch.register(name, infer_type(name, value), value, expected_version=0)
        try:
            return await write(session, waiting, batch.operations, reason)
        except (VariableNotFoundError, VersionConflictError):
            # Somebody else deleted or registered one of them in between: look again.
            continue


async def modify(
    session: Session, waiting: Waiting, name: str, change: Callable[[Any], Any], *, reason: str = ""
) -> Any:
    """Sets a variable to `change(its value)`, again with the newer value whenever another writer came first."""
    while True:
        variable = await reads.readable(session, waiting, name)
        value = change(variable.value)
        operations = Batch().set(name, value, expected_version=variable.version).operations
        try:
            await write(session, waiting, operations, reason)
        except VersionConflictError as conflict:
            if conflict.actual == 0:
                raise
        else:
            return value
