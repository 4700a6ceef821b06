"""What a test does to a session that no context offers."""

from __future__ import annotations

from snakepit_bridge import SessionContext
from snakepit_bridge._client.transport import BLOCKING, finish
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import session_pb2


def end_session(context: SessionContext) -> None:
    """Deletes the context's session on the server."""
    session = session_of(context)
    request = session_pb2.DeleteSessionRequest(session_id=context.session_id)
    finish(session.call(BLOCKING, session.connection.session.DeleteSession, request))
