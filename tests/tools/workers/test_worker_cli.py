"""`python -m snakepit_bridge worker`: what it serves, how it keeps serving, how it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, LocalServer
from snakepit_bridge.exceptions import ToolUnavailableError
from tests.support.recording_lm import RecordingLM, asked_fields
from tests.support.waiting import PATIENCE
from tests.tools.support.worker_process import WorkerProcess

PLAIN = """
import os, sys

def pid(n: int) -> int:
    "Says who runs it."
    return os.getpid() + n

def heard(n: int) -> str:
    "What there is to read."
    return sys.stdin.read()

def make():
    return pid

def make_of(ctx):
    def where(n: int) -> str:
        "Says where it is."
        return ctx.session_id
    return where

def fail():
    raise ValueError("no\\nway")

"""

PROGRAMS = '''
import os
import dspy
import snakepit_bridge.dspy_integration as sb

def configure():
    lm = dspy.LM("openai/gpt-4o-mini", api_base=os.environ["LM_URL"], api_key="k", cache=False, num_retries=0)
    dspy.configure(lm=lm)

class Answers(dspy.Module):
    """Answers questions."""
    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("question -> answer")
    def forward(self, question: str):
        return self.answer(question=question)

program = dspy.ChainOfThought("question -> answer")

def bound(ctx):
    return sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=ctx)

def double(number: int, times: int = 2) -> int:
    """Multiplies."""
    return number * times

tool = dspy.Tool(double, name="doubled")
'''


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A directory with what can be served."""
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "programs.py").write_text(PROGRAMS)
    (tmp_path / "broken.py").write_text("import plain\n\nplain.nothing\n")
    return tmp_path


@pytest.fixture
def start(app: Path, address: str, session_id: str, recording_lm: RecordingLM) -> Any:
    """Starts workers for the test's session: `start("plain:pid", "--processes", "2")`."""

    def started(target: str, *arguments: str) -> WorkerProcess:
        recording_lm.reply(lambda body: dict.fromkeys(asked_fields(body), "yes"))
        where = ("--address", address, "--session", session_id)
        return WorkerProcess(app, target, *where, *arguments, LM_URL=recording_lm.url)

    return started


Start = Callable[..., WorkerProcess]


@pytest.mark.parametrize(
    ("target", "name", "result"),
    [
        ("plain:pid", "pid", None),
        ("plain:make", "pid", None),
        ("plain:make_of", "where", ""),
        ("programs:tool", "doubled", 6),
    ],
)
def test_a_function_a_tool_and_what_makes_one_are_served(
    target: str, name: str, result: Any, start: Start, blocking: BlockingContext
) -> None:
    with start(target) as worker:
        said = worker.serving()
        assert (said["name"], said["address"], said["where"]) == (
            name, blocking.address, f"session {blocking.session_id}",
        )  # fmt: skip
        arguments = {"number": 3} if name == "doubled" else {"n": 0}
        expected = {"pid": int(said["pid"]), "where": blocking.session_id, "doubled": 6}[name]
        assert blocking.call_tool(name, **arguments) == expected
        worker.signal()
        assert worker.ended() == 0
        assert blocking.list_tools() == []


@pytest.mark.parametrize("target", ["programs:program", "programs:Answers"])
def test_a_program_and_a_class_of_programs_are_served(
    target: str, start: Start, blocking: BlockingContext, recording_lm: RecordingLM
) -> None:
    options = ("--name", "support_agent", "--configure", "programs:configure", "--concurrency", "3", "--timeout", "7")
    with start(target, *options) as worker:
        worker.serving()
        assert sb.load(blocking.call_tool("support_agent", question="why?")).answer == "yes"
        status = blocking.tool_status("support_agent")
        assert (status.tool.timeout, status.tool.metadata["kind"]) == (7.0, "dspy.program")
        assert [one.max_concurrency for one in status.workers] == [3]
        assert len(recording_lm.requests) == 1


def test_a_program_that_is_made_with_the_context_follows_its_variables(
    start: Start, blocking: BlockingContext, recording_lm: RecordingLM
) -> None:
    blocking.register_variable("t", "float", 0.25)
    with start("programs:bound", "--configure", "programs:configure", "--stream", "answer") as worker:
        worker.serving()
        blocking.set_variable("t", 0.5)
        *chunks, answer = [sb.load(item) for item in blocking.stream_tool("bound", question="why?")]
        assert recording_lm.requests[-1]["temperature"] == 0.5
        assert sb.revision_of(answer) == blocking.revision
        assert "".join(chunk.chunk for chunk in chunks) == answer.answer == "yes"


def test_a_process_that_is_killed_is_started_again_in_its_place(start: Start, blocking: BlockingContext) -> None:
    with start("plain:pid", "--processes", "2") as worker:
        pids = {int(worker.serving()["pid"]) for _ in range(2)}
        before = {one.worker_id for one in blocking.tool_status("pid").workers}
        assert sorted(one.rpartition("-")[2] for one in before) == ["0", "1"]
        killed = worker.pids[0]
        os.kill(killed, signal.SIGKILL)
        assert "SIGKILL" in worker.complaint()
        replaced = int(worker.serving()["pid"])
        assert replaced not in pids
        connected = [one for one in blocking.tool_status("pid").workers if one.connected]
        assert {one.worker_id for one in connected} == before
        with ThreadPoolExecutor(8) as pool:
            answered = set(pool.map(lambda _: blocking.call_tool("pid", n=0), range(64)))
        assert answered <= (pids | {replaced}) - {killed}
        worker.signal(signal.SIGINT)
        assert worker.ended() == 0


class Held:
    """An LM that holds its answers back until it is let go."""

    def __init__(self, lm: RecordingLM) -> None:
        self.asked, self.free = threading.Event(), threading.Event()
        lm.reply(self._answer)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.set()
        self.free.wait(PATIENCE)
        return dict.fromkeys(asked_fields(body), "yes")


def test_sigterm_lets_running_calls_finish_and_takes_no_others(
    start: Start, blocking: BlockingContext, recording_lm: RecordingLM
) -> None:
    with start("programs:program", "--configure", "programs:configure") as worker, ThreadPoolExecutor(1) as pool:
        worker.serving()
        held = Held(recording_lm)
        call = pool.submit(blocking.call_tool, "program", question="why?")
        assert held.asked.wait(PATIENCE)
        worker.signal()
        # Nobody offers it any more, while the call still runs.
        while blocking.list_tools():
            pass
        assert not call.done()
        held.free.set()
        assert sb.load(call.result()).answer == "yes"
        assert worker.ended() == 0


@pytest.mark.parametrize(("signals", "drain", "code"), [(2, "60", 1), (1, "0.2", 0)])
def test_a_second_signal_or_the_drain_timeout_ends_it_with_calls_running(
    signals: int, drain: str, code: int, start: Start, blocking: BlockingContext, recording_lm: RecordingLM
) -> None:
    options = ("--configure", "programs:configure", "--drain-timeout", drain)
    with start("programs:program", *options) as worker, ThreadPoolExecutor(1) as pool:
        worker.serving()
        held = Held(recording_lm)
        call = pool.submit(blocking.call_tool, "program", question="why?")
        assert held.asked.wait(PATIENCE)
        worker.signal()
        if signals > 1:
            while blocking.list_tools():
                pass
            worker.signal()
        with pytest.raises(ToolUnavailableError):
            call.result()
        assert worker.ended() == code
        held.free.set()


def test_processes_end_with_a_supervisor_that_is_killed(start: Start, blocking: BlockingContext) -> None:
    with start("plain:pid", "--processes", "2") as worker:
        worker.serving()
        worker.serving()
        worker.signal(signal.SIGKILL)
        assert worker.ended() == -signal.SIGKILL
        assert blocking.list_tools() == []


def test_it_ends_with_its_standard_input_if_told_to(start: Start, blocking: BlockingContext) -> None:
    with start("plain:pid", "--until-stdin-closes") as worker:
        worker.serving()
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        assert worker.ended() == 0
        assert blocking.list_tools() == []


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("broken:program", (), "AttributeError"),
        ("plain:pid", ("--configure", "plain:fail"), "ValueError: no way"),
        ("plain:pid", ("--stream", "answer"), "--stream"),
        ("plain:pid", ("--name", "not a name"), "not a name"),
        ("programs:program", ("--stream", "nothing"), "predict.answer"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_exit_code_1(
    target: str, options: tuple[str, ...], said: str, start: Start
) -> None:
    with start(target, "--processes", "3", *options) as worker:
        complaint = worker.complaint()
        assert said in complaint
        assert worker.complaint() == ""
        assert worker.ended() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("plain",),
        ("plain:",),
        ("plain:a b",),
        ("plain:pid", "--processes", "0"),
        ("plain:pid", "--concurrency", "many"),
        ("plain:pid", "--drain-timeout", "-1"),
        ("plain:pid", "--timeout", "nan"),
        ("plain:pid", "--configure", "plain"),
        ("plain:pid", "--address", "nowhere"),
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments: tuple[str, ...], app: Path) -> None:
    with WorkerProcess(app, *arguments) as worker:
        assert worker.ended() == 2


def test_a_worker_waits_for_a_server_that_is_away(
    app: Path, start_server: Callable[..., LocalServer], session_id: str
) -> None:
    server = start_server()
    address = server.address
    server.close()
    with WorkerProcess(app, "plain:pid", "--address", address, "--session", session_id) as worker:
        assert address in worker.complaint()
        assert "again in 0.5 s" in worker.complaint()
        start_server(listen=address)
        worker.serving()
        worker.signal()
        assert worker.ended() == 0


def test_standard_input_is_empty_for_what_is_served(start: Start, blocking: BlockingContext) -> None:
    with start("plain:heard", "--everywhere", "--name", f"heard-{blocking.session_id}") as worker:
        assert worker.serving()["where"] == "every session"
        assert blocking.call_tool(f"heard-{blocking.session_id}", n=0) == ""
        assert blocking.tool_status(f"heard-{blocking.session_id}").tool.everywhere


def test_a_session_that_nobody_names_is_one_for_all_processes(app: Path, address: str) -> None:
    with WorkerProcess(app, "plain:pid", "--processes", "2", SNAKEPIT_ADDRESS=address) as worker:
        assert worker.serving()["where"] == worker.serving()["where"]
