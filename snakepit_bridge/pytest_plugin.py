"""Fixtures for the tests of who uses the package: a real server, and a session of each test's own.

Installing the package brings them; pytest finds this module by its entry point. Nothing is imported, and no server is
started, before the first test asks for a fixture.
"""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from snakepit_bridge import BlockingContext, LocalServer, SessionContext


@pytest.fixture(scope="session")
def snakepit_server() -> Iterator[LocalServer]:
    """A server for the whole run, which keeps its sessions in memory; each process of pytest-xdist has its own.

    It is the one that `$SNAKEPIT_SERVER_BINARY` names, else the installed one. Where there is none, every test that
    asks for it is an error of one line.
    """
    from snakepit_bridge.exceptions import ServerStartError
    from snakepit_bridge.server import local_server

    try:
        server = local_server()
    except ServerStartError as error:
        reason = str(error)
    else:
        with server:
            yield server
        return
    # Not in the handler, whose traceback of our own code would be shown first.
    pytest.fail(f"snakepit_server: {reason}", pytrace=False)


@pytest.fixture
def snakepit_session(
    snakepit_server: LocalServer, request: pytest.FixtureRequest
) -> Iterator[SessionContext | BlockingContext]:
    """A context on a new, empty session: a `SessionContext` in an async test, a `BlockingContext` in any other.

    `.blocking` of either is the blocking one. Until the test ends `$SNAKEPIT_ADDRESS` and `$SNAKEPIT_SESSION` name the
    session, so that the code under test, and the processes it starts, find it with a bare `SessionContext.connect()`.
    """
    from snakepit_bridge import SessionContext

    with pytest.MonkeyPatch.context() as environment:
        # Meant for the server of somebody's shell: this one has neither tokens nor certificates.
        for name in [name for name in os.environ if name.startswith(("SNAKEPIT_TOKEN", "SNAKEPIT_TLS"))]:
            environment.delenv(name)
        context = SessionContext.connect(snakepit_server.address, session_id=f"test-{secrets.token_hex(8)}")
        environment.setenv("SNAKEPIT_ADDRESS", context.address)
        environment.setenv("SNAKEPIT_SESSION", context.session_id)
        with context as blocking:
            yield context if _is_async(request) else blocking


def _is_async(request: pytest.FixtureRequest) -> bool:
    function = getattr(request.node, "obj", None)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
