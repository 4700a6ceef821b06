"""LMs that every thread and task finds, and a second client that changes variables."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator

import dspy
import pytest
from dspy.dsp.utils.settings import main_thread_config

from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from tests.support.instant_lm import InstantLM
from tests.support.recording_lm import RecordingLM

# What LiteLLM gives rise to. DSPy asks it where parameters are unusual, and for each request before 3.4. It keeps the
# connections of event loops that are over.
_OF_LITELLM: list[tuple[str, type[Warning]]] = [
    ("Item .*ReadOnly", UserWarning),
    ("Pydantic serializer warnings", UserWarning),
    ("Accessing the 'model_(computed_)?fields' attribute", DeprecationWarning),
]
if not hasattr(dspy, "lm15"):
    _OF_LITELLM.append(("unclosed ", ResourceWarning))


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for the DSPy that is installed."""
    for message, category in _OF_LITELLM:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__name__}")


def pytest_unconfigure() -> None:
    """The same for what is only collected when all tests are over."""
    for message, category in _OF_LITELLM:
        warnings.filterwarnings("ignore", message, category)


@pytest.fixture(scope="session", autouse=True)
def _small_heap() -> Iterator[None]:
    """The collections that tests ask for leave alone what importing DSPy made, a million objects: they took seconds."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def lm(recording_lm: RecordingLM, monkeypatch: pytest.MonkeyPatch) -> RecordingLM:
    """The recording LM as everybody's default. `dspy.configure` belongs to one task, tests have one each."""
    monkeypatch.setitem(main_thread_config, "lm", recording_lm.lm())
    return recording_lm


@pytest.fixture
def instant_lm(monkeypatch: pytest.MonkeyPatch) -> InstantLM:
    """The LM in this process as everybody's default."""
    lm = InstantLM()
    monkeypatch.setitem(main_thread_config, "lm", lm)
    return lm


@pytest.fixture
def other(address: str, session_id: str) -> Iterator[BlockingContext]:
    """Another client of the same session, over a connection of its own."""
    with SessionContext.connect(address, session_id=session_id) as context:
        yield context


@pytest.fixture
def session(blocking: BlockingContext) -> BlockingContext:
    """The session with a variable for everything that is usually bound."""
    blocking.register_variable("t", "float", 0.25)
    blocking.register_variable("tokens", "integer", 111)
    blocking.register_variable("prompt", "string", "Answer like a pirate.")
    blocking.register_variable("model", "string", "gpt-4o")
    return blocking


@pytest.fixture(scope="module")
def offering(server: LocalServer, request: pytest.FixtureRequest) -> Iterator[BlockingContext]:
    """A session in which another process offers the tools of `tests.dspy.support.offering`."""
    session_id = request.node.name.replace("/", "-").removesuffix(".py")
    command = [sys.executable, "-m", "tests.dspy.support.offering", server.address, session_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "offered\n"
        with SessionContext.connect(server.address, session_id=session_id) as context:
            yield context
        process.communicate()
