"""Fixtures through the real server: the one just built, never an installed one, never a mock."""

from __future__ import annotations

import os
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from tests.support.recorded import recorded
from tests.support.recording_lm import RecordingLM
from tests.support.threads import note_threads
from tests.support.transports import OPEN, SECURE, Transport, chosen
from tests.support.wire_proxy import WireProxy

# Runs pytest in the tests of the plugin.
pytest_plugins = ["pytester"]

# DSPy's price list would be fetched from the network otherwise.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# A shell that runs the tests in the background has SIGINT ignored, which children inherit; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_UNDER_FIRE = (
    "crashes",
    "a stuck watcher",
    "power cuts",
    "disk errors",
    "abuse",
    "killed workers",
    "a suspended server",
    "planted faults",
    "the local LM",
)
_BUILT = Path(__file__).parents[1] / "target" / "debug"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests under fire do; here, where pytest asks for options."""
    parser.addoption("--forwards", type=int, default=2100, help="forwards to check for consistency (default: 2100)")
    parser.addoption("--crashes", type=int, default=20, help="times to kill a server on disk (default: 20)")
    parser.addoption("--cuts", type=int, default=10, help="power cuts of a server's disk (default: 10)")
    parser.addoption("--disk-errors", type=int, default=30, help="faults of a server's disk; 0: all (default: 30)")
    parser.addoption("--disk-seed", type=int, help="what the power cuts are chosen by (default: another each time)")
    parser.addoption("--stuck-seconds", type=int, default=30, help="how long a watcher is stuck (default: 30)")
    parser.addoption(
        "--transport",
        choices=("drawn", OPEN, SECURE, "both"),
        default="drawn",
        help="how the suites of the client, tools and DSPy reach servers: each module as the seed draws, in the open, "
        "with tokens and TLS, or both ways (default: drawn)",
    )
    parser.addoption("--suspended-seconds", type=int, default=35, help="how long a server is suspended (default: 35)")
    parser.addoption("--plantings", type=int, help="times to plant each fault before each harness (default: one, once)")
    parser.addoption("--calls", type=int, default=1500, help="tool calls while workers are killed (default: 1500)")
    parser.addoption("--hostile", type=int, default=20_000, help="hostile frames to send (default: 20000)")


def pytest_configure(config: pytest.Config) -> None:
    """Says what the markers are."""
    config.addinivalue_line(
        "markers",
        "transport(name): reaches servers in this way only; `tokens`: where others have TLS as well, it has not",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Says how servers are reached; the seed is printed by pytest-randomly."""
    return f"transport: {config.getoption('transport')}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has each module of some suites reach servers in the way that the run's seed draws for it."""
    marker = metafunc.definition.get_closest_marker("transport")
    names = chosen(metafunc.config, metafunc.definition.path, marker.args[0] if marker else None)
    if names != [OPEN]:
        metafunc.parametrize("transport", names, indirect=True, scope="module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the runs under fire came to; each of them records a line of text."""
    for title in _UNDER_FIRE:
        if lines := recorded(terminalreporter, title):
            terminalreporter.section(title)
            terminalreporter.line("\n".join(sorted(lines)))
    if checks := recorded(terminalreporter, "consistency"):
        terminalreporter.section("consistency")
        terminalreporter.line("\n".join(_consistency(checks)))


def _consistency(checks: list[dict[str, Any]]) -> Iterator[str]:
    """How many forwards were checked; here, since pytest-xdist's controller reads no conftest further down."""
    forwards, totals = Counter[str](), Counter[str]()
    for check in checks:
        forwards[check["name"]] += check["forwards"]
        totals.update({name: count for name, count in check.items() if name != "name"})
    for name, count in sorted(forwards.items()):
        yield f"{count:>9,} forwards by {name}"
    yield (
        f"{totals['forwards']:>9,} forwards checked, with {totals['requests']:,} LM requests, in {totals['states']:,} "
        f"of the {totals['written']:,} states written meanwhile: {totals['mixed']:,} saw a mix"
    )


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The server to test: $SNAKEPIT_SERVER_BINARY, else what this checkout has built. Without one the tests fail."""
    binary = Path(os.environ.get("SNAKEPIT_SERVER_BINARY") or _BUILT / "snakepit")
    if not binary.is_file():
        pytest.fail(f"no server at {binary}: run `make build`, or set SNAKEPIT_SERVER_BINARY", pytrace=False)
    return binary.resolve()


@pytest.fixture(scope="session")
def _transports(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Transport]:
    """Makes tokens and certificates once for a run."""
    return cache(lambda name: Transport.make(name, server_binary, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="module", autouse=True)
def transport(request: pytest.FixtureRequest, _transports: Callable[[str], Transport]) -> Iterator[Transport]:
    """How this module's tests reach servers; in the environment, where clients and the processes they start find it."""
    made = _transports(getattr(request, "param", OPEN))
    with pytest.MonkeyPatch.context() as environment:
        for name in ("TOKEN", "TLS", "TLS_CA", "TLS_CLIENT_CERT", "TLS_CLIENT_KEY"):
            environment.delenv(f"SNAKEPIT_{name}", raising=False)
        for name, value in made.environment.items():
            environment.setenv(name, value)
        yield made


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, server_binary: Path) -> None:
    """`local()` starts the server under test too, and nobody's shell chooses addresses for the tests."""
    note_threads()
    monkeypatch.setenv("SNAKEPIT_SERVER_BINARY", str(server_binary))
    for name in ("ADDRESS", "SESSION", "LISTEN", "DATA_DIR"):
        monkeypatch.delenv(f"SNAKEPIT_{name}", raising=False)


@pytest.fixture(scope="session")
def _servers(server_binary: Path) -> Iterator[Callable[[Transport], LocalServer]]:
    """One server for each transport of a run."""
    with ExitStack() as running:
        yield cache(lambda transport: running.enter_context(transport.serve(server_binary)))


@pytest.fixture(scope="module")
def server(transport: Transport, _servers: Callable[[Transport], LocalServer]) -> LocalServer:
    """One server for all tests that do not stop it; each test has its own session on it."""
    return _servers(transport)


@pytest.fixture
def start_server(server_binary: Path, transport: Transport) -> Iterator[Callable[..., LocalServer]]:
    """Starts servers that a test may kill, on a port and a directory if it says so; they end with the test."""
    started: list[LocalServer] = []

    def start(listen: str = "127.0.0.1:0", data_dir: Path | None = None) -> LocalServer:
        started.append(transport.serve(server_binary, listen=listen, data_dir=data_dir))
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
