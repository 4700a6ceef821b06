"""What a context reads from its session, each call one rpc per page, never the mirror."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from snakepit_bridge._variables.display import Listing
from snakepit_bridge._variables.variables import Variable, VariableVersion, variable_from_wire, version_from_wire
from snakepit_bridge.exceptions import PermissionDeniedError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import Session
    from snakepit_bridge._client.transport import Waiting

_PAGE = 1000


async def describe(
    session: Session, waiting: Waiting, names: Sequence[str], *, allow_missing: bool = False
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
    session: Session, waiting: Waiting, names: Sequence[str], *, allow_missing: bool = False
) -> dict[str, Any]:
    """The values of variables, all from one revision.

    Raises:
        VariableNotFoundError: one is missing, unless `allow_missing` leaves it out.
        PermissionDeniedError: one is a secret that this client may not read.
    """
    variables = await describe(session, waiting, names, allow_missing=allow_missing)
    return {name: _readable(session, variable).value for name, variable in variables.items()}


async def readable(session: Session, waiting: Waiting, name: str) -> Variable:
    """One variable with a value; raises like `get`."""
    return _readable(session, (await describe(session, waiting, [name]))[name])


def _readable(session: Session, variable: Variable) -> Variable:
    if variable.redacted:
        raise PermissionDeniedError(
            f"{variable.name} is a secret that this client may not read",
            {"session": session.session_id, "variable": variable.name, "role": "read_secret"},
        )
    return variable


async def list_variables(session: Session, waiting: Waiting, pattern: str) -> list[Variable]:
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


async def history(session: Session, waiting: Waiting, name: str) -> list[VariableVersion]:
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
