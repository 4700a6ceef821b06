"""Fixtures through the real server: the one just built, never an installed one, never a mock."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext, local_server
from tests.client.crashing import CRASHED
from tests.client.threads import note_threads
from tests.recording_lm import RecordingLM
from tests.wire_proxy import WireProxy

# DSPy's price list would be fetched from the network otherwise.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# A shell that runs the tests in the background has SIGINT ignored, which children inherit; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_BUILT = Path(__file__).parents[1] / "target" / "debug"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests under fire do; here, where pytest asks for options."""
    parser.addoption("--forwards", type=int, default=2100, help="forwards to check for consistency (default: 2100)")
    parser.addoption("--crashes", type=int, default=20, help="times to kill a server on disk (default: 20)")
    parser.addoption("--calls", type=int, default=1500, help="tool calls while workers are killed (default: 1500)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the run under crashes came to."""
    if CRASHED in config.stash:
        terminalreporter.section("crashes")
        terminalreporter.line(config.stash[CRASHED])


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The server to test: $SNAKEPIT_SERVER_BINARY, else what this checkout has built. Without one the tests fail."""
    binary = Path(os.environ.get("SNAKEPIT_SERVER_BINARY") or _BUILT / "snakepit")
    if not binary.is_file():
        pytest.fail(f"no server at {binary}: run `make build`, or set SNAKEPIT_SERVER_BINARY", pytrace=False)
    return binary.resolve()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, server_binary: Path) -> None:
    """`local()` starts the server under test too, and nobody's shell chooses addresses for the tests."""
    note_threads()
    monkeypatch.setenv("SNAKEPIT_SERVER_BINARY", str(server_binary))
    for name in ("SNAKEPIT_ADDRESS", "SNAKEPIT_SESSION", "SNAKEPIT_LISTEN", "SNAKEPIT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def server(server_binary: Path) -> Iterator[LocalServer]:
    """One server for all tests that do not stop it; each test has its own session on it."""
    with local_server(binary=server_binary) as running:
        yield running


@pytest.fixture
def start_server(server_binary: Path) -> Iterator[Callable[..., LocalServer]]:
    """Starts servers that a test may kill, on a port and a directory if it says so; they end with the test."""
    started: list[LocalServer] = []

    def start(listen: str = "127.0.0.1:0", data_dir: Path | None = None) -> LocalServer:
        started.append(local_server(binary=server_binary, listen=listen, data_dir=data_dir))
        return started[-1]

    yield start
    for running in started:
        running.close()


@pytest.fixture
def address(server: LocalServer) -> str:
    """Where the shared server listens."""
    return server.address


@pytest.fixture
def session_id() -> str:
    """An id that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def proxy(address: str) -> Iterator[WireProxy]:
    """A counting, cutting, freezing way to the shared server."""
    with WireProxy(address) as running:
        yield running


@pytest.fixture
async def ctx(address: str, session_id: str) -> AsyncIterator[SessionContext]:
    """An async context on a session of the test's own."""
    async with SessionContext.connect(address, session_id=session_id) as context:
        yield context


@pytest.fixture
def blocking(address: str, session_id: str) -> Iterator[BlockingContext]:
    """A blocking context on a session of the test's own; the same session as `ctx`, by another connection."""
    with SessionContext.connect(address, session_id=session_id) as context:
        yield context


@pytest.fixture
def recording_lm() -> Iterator[RecordingLM]:
    """A real HTTP server that answers as an LM and keeps every request."""
    with RecordingLM() as lm:
        yield lm
