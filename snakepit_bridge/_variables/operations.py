"""Reading and writing a session's variables.

A read is one rpc per page, never the mirror; a write is always one atomic batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snakepit_bridge._variables.batch import Batch
from snakepit_bridge._variables.display import Listing
from snakepit_bridge._variables.variables import (
    Outcome,
    Variable,
    VariableVersion,
    infer_type,
    outcomes_from_wire,
    variable_from_wire,
    version_from_wire,
)
from snakepit_bridge.exceptions import PermissionDeniedError, VariableNotFoundError, VersionConflictError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient
    from snakepit_bridge._client.transport import Waiting

_PAGE = 1000


async def describe(
    session: SessionClient, waiting: Waiting, names: Sequence[str], *, allow_missing: bool = False
) -> dict[str, Variable]:
    """Variables by name, all from one revision, in the order asked for.

    Raises:
        VariableNotFoundError: one is missing, unless `allow_missing` leaves it out.
    """
    await session.open(waiting)
    if not names:
        return {}
    request = pb.GetVariablesRequest(
        session_id=session.session_id, incarnation=session.incarnation, names=names, allow_missing=allow_missing
    )
    reply = await session.call(waiting, session.connection.variable.GetVariables, request)
    session.saw(reply.revision)
    return {variable.name: variable_from_wire(variable) for variable in reply.variables}


async def get(
    session: SessionClient, waiting: Waiting, names: Sequence[str], *, allow_missing: bool = False
) -> dict[str, Any]:
    """The values of variables, all from one revision.

    Raises:
        VariableNotFoundError: one is missing, unless `allow_missing` leaves it out.
        PermissionDeniedError: one is a secret that this client may not read.
    """
    variables = await describe(session, waiting, names, allow_missing=allow_missing)
    return {name: _readable(session, variable).value for name, variable in variables.items()}


async def readable(session: SessionClient, waiting: Waiting, name: str) -> Variable:
    """One variable with a value; raises like `get`."""
    return _readable(session, (await describe(session, waiting, [name]))[name])


def _readable(session: SessionClient, variable: Variable) -> Variable:
    if variable.redacted:
        raise PermissionDeniedError(
            f"{variable.name} is a secret that this client may not read",
            {"session": session.session_id, "variable": variable.name, "role": "read_secret"},
        )
    return variable


async def list_variables(session: SessionClient, waiting: Waiting, pattern: str) -> list[Variable]:
    """The variables whose name matches a glob, by name; the values of secrets are redacted."""
    await session.open(waiting)
    variables: list[Variable] = Listing()
    token = ""
    while True:
        request = pb.ListVariablesRequest(
            session_id=session.session_id,
            incarnation=session.incarnation,
            pattern=pattern,
            page_size=_PAGE,
            page_token=token,
        )
        reply = await session.call(waiting, session.connection.variable.ListVariables, request)
        session.saw(reply.revision)
        variables.extend(map(variable_from_wire, reply.variables))
        token = reply.next_page_token
        if not token:
            return variables


async def history(session: SessionClient, waiting: Waiting, name: str) -> list[VariableVersion]:
    """The kept versions of a variable, newest first, also of one that was deleted.

    Raises:
        VariableNotFoundError: there never was such a variable.
    """
    await session.open(waiting)
    versions: list[VariableVersion] = Listing()
    token = ""
    while True:
        request = pb.ListVariableVersionsRequest(
            session_id=session.session_id,
            incarnation=session.incarnation,
            name=name,
            page_size=_PAGE,
            page_token=token,
        )
        reply = await session.call(waiting, session.connection.variable.ListVariableVersions, request)
        session.saw(reply.revision)
        versions.extend(map(version_from_wire, reply.versions))
        token = reply.next_page_token
        if not token:
            return versions


async def write(
    session: SessionClient, waiting: Waiting, operations: Sequence[pb.Operation], reason: str = ""
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
    session.wrote(reply.revision, [outcome.name for outcome in outcomes if outcome.changed])
    return outcomes


async def set_all(
    session: SessionClient,
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
        existing = await describe(session, waiting, list(values), allow_missing=True)
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
    session: SessionClient, waiting: Waiting, name: str, change: Callable[[Any], Any], *, reason: str = ""
) -> Any:
    """Sets a variable to `change(its value)`, again with the newer value whenever another writer came first."""
    while True:
        variable = await readable(session, waiting, name)
        value = change(variable.value)
        operations = Batch().set(name, value, expected_version=variable.version).operations
        try:
            await write(session, waiting, operations, reason)
        except VersionConflictError as conflict:
            if conflict.actual == 0:
                raise
        else:
            return value
