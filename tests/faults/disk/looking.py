"""What a server has, as any reader finds it."""

from __future__ import annotations

from typing import Any

from snakepit_bridge import SessionContext
from snakepit_bridge._client.transport import METADATA, Connection
from snakepit_bridge.v1 import session_pb2

# Of each session its variables.
State = dict[str, dict[str, Any]]

_TIMEOUT = 60.0


def sessions(address: str, pattern: str = "") -> set[str]:
    """The ids of its live sessions."""
    connection = Connection(address)
    found: set[str] = set()
    request = session_pb2.ListSessionsRequest(pattern=pattern, page_size=1000)
    try:
        while True:
            page = connection.session.ListSessions(request, metadata=METADATA, timeout=_TIMEOUT)
            found.update(session.id for session in page.sessions)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token
    finally:
        connection.channel.close()


def variables(address: str, session: str) -> dict[str, Any]:
    """The variables of a session."""
    with SessionContext.connect(address, session_id=session, create=False, timeout=_TIMEOUT) as ctx:
        return ctx.get_variables(list(ctx))


def state(address: str) -> State:
    """All that it has."""
    return {session: variables(address, session) for session in sessions(address)}


def brief(state: State) -> str:
    """A state in a line."""
    return str(
        {
            session: {name: f"{value[:6]}…" if isinstance(value, str) else value for name, value in values.items()}
            for session, values in sorted(state.items())
        }
    )
