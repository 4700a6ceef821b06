"""Programs of another process, called as tools."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from snakepit_bridge.exceptions import InvalidRequestError, ToolFailedError
from tests.dspy.support.agents import ANSWER, calling, react
from tests.dspy.support.served import Plain, Ticket
from tests.support.recording_lm import RecordingLM, asked_fields
from tests.support.waiting import PATIENCE
from tests.tools.support.until import given_up

FIXED = {"reasoning": "because", "answer": "a long answer of several words", "draft": "a first draft"}


def fixed(body: dict[str, Any]) -> dict[str, Any]:
    return {field: FIXED[field] for field in asked_fields(body)}


@pytest.fixture(scope="module")
def wire() -> Iterator[RecordingLM]:
    """The LM of the process that serves."""
    with RecordingLM() as lm:
        yield lm


@pytest.fixture(scope="module")
def process(server: LocalServer, wire: RecordingLM) -> Iterator[BlockingContext]:
    """A session in which another process serves the programs of `tests.dspy.support.served`."""
    command = [sys.executable, "-m", "tests.dspy.support.served", server.address, "test-dspy-serving", wire.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "served\n"
        with SessionContext.connect(server.address, session_id="test-dspy-serving") as context:
            yield context
        running.communicate()


@pytest.fixture
def served(process: BlockingContext, wire: RecordingLM) -> BlockingContext:
    """The same, with an LM that has heard nothing and always says the same."""
    wire.requests.clear()
    wire.reply(fixed)
    return process


def local(program: Any, wire: RecordingLM, **inputs: Any) -> Any:
    with dspy.context(lm=wire.lm(), track_usage=True):
        return program(**inputs)


def test_the_answer_of_another_process_is_the_local_prediction(served: BlockingContext, wire: RecordingLM) -> None:
    result = served.call_tool("qa", question="why?")
    here = local(dspy.Predict("question -> answer"), wire, question="why?")
    assert result == sb.dump(here)
    answer = sb.load(result)
    assert isinstance(answer, dspy.Prediction)
    assert answer.answer == FIXED["answer"]
    assert answer.completions.answer == [FIXED["answer"]]
    assert answer.get_lm_usage() == here.get_lm_usage()
    assert answer.get_lm_usage()["openai/gpt-4o-mini"]["completion_tokens"] > 0
    assert wire.requests[0]["messages"] == wire.requests[1]["messages"]


def test_an_agents_trajectory_comes_with_its_answer(served: BlockingContext, wire: RecordingLM) -> None:
    wire.reply(calling(("weather", {"city": "Rome"})))
    answer = sb.load(served.call_tool("agent", question="why?"))
    assert answer.answer == ANSWER
    assert answer.trajectory["tool_name_0"] == "weather"
    assert answer.trajectory["observation_0"] == "sunny in Rome"


def test_a_served_program_follows_its_variables_and_tells_the_revision(
    served: BlockingContext, wire: RecordingLM
) -> None:
    for temperature in (0.125, 0.75):
        served.set_variable("t", temperature)
        result = served.call_tool("bound", question="why?")
        assert wire.requests[-1]["temperature"] == temperature
        assert sb.revision_of(sb.load(result)) == result["revision"] == served.revision


def test_the_list_tells_what_a_program_takes_and_gives(served: BlockingContext) -> None:
    tools = {tool.name: tool for tool in served.list_tools()}
    assert tools["qa"].description == "Answers questions."
    assert tools["support"].description == "Help a customer."
    assert tools["support"].arguments_schema["required"] == ["ticket", "history"]
    assert tools["qa"].result_schema["properties"]["fields"]["properties"] == {"answer": {"type": "string"}}
    assert {tool.metadata["kind"] for tool in tools.values()} == {"dspy.program"}
    assert (tools["bound"].max_concurrency, tools["qa"].timeout) == (4, 300.0)
    assert [name for name, tool in tools.items() if tool.streaming] == ["spoken", "spoken-plain"]


def test_typed_inputs_arrive_as_what_they_are(served: BlockingContext, wire: RecordingLM) -> None:
    photo = dspy.Image("https://example.com/a.png")
    history = dspy.History(messages=[{"ticket": "x", "answer": "before"}])
    served.call_tool(
        "support", ticket={"subject": "broken", "urgent": True}, photo=sb.dump(photo), history=sb.dump(history)
    )
    said = wire.requests[0]["messages"]
    assert Ticket(subject="broken", urgent=True).model_dump_json() in json.dumps(said).replace("\\", "").replace(
        ", ", ","
    ).replace(": ", ":")
    assert {"type": "image_url", "image_url": {"url": photo.url}} in said[-1]["content"]
    assert [message["role"] for message in said] == ["system", "user", "assistant", "user"]
    assert "before" in said[2]["content"]


@pytest.mark.parametrize("arguments", [{}, {"question": 3}, {"question": "why?", "temperature": 1.0}])
def test_arguments_that_a_program_does_not_take_never_reach_it(
    arguments: dict[str, Any], served: BlockingContext, wire: RecordingLM
) -> None:
    with pytest.raises(InvalidRequestError):
        served.call_tool("qa", **arguments)
    assert wire.requests == []


@pytest.mark.parametrize("name", ["qa", "agent", "plain", "bound"])
def test_calls_of_a_program_run_at_the_same_time(name: str, served: BlockingContext, wire: RecordingLM) -> None:
    together = threading.Barrier(4)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        # No first request is answered before all have come.
        if len(wire.requests) <= 4:
            together.wait(PATIENCE)
        return {"next_tool_name": "finish", "next_tool_args": {}, "next_thought": "t", **FIXED}

    wire.reply(lambda body: {key: value for key, value in answer(body).items() if key in asked_fields(body)})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: sb.load(served.call_tool(name, question="why?")), range(4)))
    assert [given.answer for given in answers] == [FIXED["answer"]] * 4


def test_what_a_program_raises_is_a_failure_with_type_and_message(served: BlockingContext) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        served.call_tool("strange", how="raise")
    assert isinstance(raised.value, ToolFailedError)
    assert (raised.value.type, raised.value.remote_message) == ("ZeroDivisionError", "nothing to divide")


def test_an_answer_that_cannot_be_sent_says_what_of_it(served: BlockingContext) -> None:
    with pytest.raises(ToolFailedError, match="answer") as raised:
        served.call_tool("strange", how="object")
    assert raised.value.type == "EnvelopeError"
    with pytest.raises(ToolFailedError, match=r"42 levels deep, in its path") as raised:
        served.call_tool("strange", how="nest")
    assert "30" in raised.value.remote_message


@pytest.mark.parametrize(
    ("name", "said"),
    [("spoken", {"answer": FIXED["answer"]}), ("spoken-plain", {"draft": FIXED["draft"], "answer": FIXED["answer"]})],
)
def test_a_streaming_program_streams_its_fields_and_then_answers(
    name: str, said: dict[str, str], served: BlockingContext, wire: RecordingLM
) -> None:
    *chunks, answer = [sb.load(item) for item in served.stream_tool(name, question="why?")]
    heard: dict[str, str] = {}
    for chunk in chunks:
        assert isinstance(chunk, dspy.streaming.StreamResponse)
        heard[chunk.signature_field_name] = heard.get(chunk.signature_field_name, "") + chunk.chunk
    # DSPy before 3.4 streams the lines between two fields, too.
    assert {field: text.rstrip("\n") for field, text in heard.items()} == said
    assert isinstance(answer, dspy.Prediction)
    assert answer.answer == FIXED["answer"]
    assert len(chunks) > 1
    assert all(body["stream"] for body in wire.requests)


def test_who_only_calls_a_streaming_program_gets_the_answer_without_streaming(
    served: BlockingContext, wire: RecordingLM
) -> None:
    assert sb.load(served.call_tool("spoken", question="why?")).answer == FIXED["answer"]
    assert not any(body.get("stream") for body in wire.requests)


def test_an_agent_calls_a_program_and_reads_its_outputs_only(
    served: BlockingContext, wire: RecordingLM, lm: RecordingLM
) -> None:
    lm.reply(calling(("agent", {"question": "weather?"}), ("qa", {"question": "why?"})))
    wire.reply(lambda body: {**calling(("weather", {"city": "Rome"}))(body), "answer": "sunny"})
    outer = react(sb.remote_tools(served, ["agent", "qa"]))
    answer = outer(question="what now?")
    assert answer.trajectory["observation_0"] == {"answer": "sunny"}
    assert answer.trajectory["observation_1"] == {"answer": "sunny"}
    assert "May be left out" not in str(lm.requests[0]["messages"])


class Waiting(dspy.Module):
    """Waits for ever, and notes how that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def aforward(self, question: str) -> Any:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.set_result(question)
            raise


@pytest.mark.parametrize("way", ["cancel", "deadline", "stream"])
async def test_cancel_and_deadline_reach_the_program(way: str, ctx: SessionContext) -> None:
    program = Waiting()
    listeners: Any = (list) if way == "stream" else None
    await sb.serve_program_async(ctx, "waiting", program, stream=listeners)
    calling_it = ctx.options(timeout=PATIENCE)
    if way == "deadline":
        await given_up(
            lambda timeout: ctx.options(timeout=timeout).call_tool("waiting", question="q"), program.began.is_set
        )
    elif way == "stream":
        stream = calling_it.stream_tool("waiting", question="q")
        reading = asyncio.create_task(anext(aiter(stream)))
        await program.began.wait()
        reading.cancel()
        await asyncio.wait([reading])
        await stream.aclose()
    else:
        call = asyncio.create_task(calling_it.call_tool("waiting", question="q"))
        await program.began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    async with asyncio.timeout(PATIENCE):
        assert await program.ended == "q"


async def test_calls_run_with_the_settings_that_the_program_was_served_with(
    ctx: SessionContext, recording_lm: RecordingLM
) -> None:
    with dspy.context(lm=recording_lm.lm(), adapter=dspy.JSONAdapter()):
        await sb.serve_program_async(ctx, "awaited", dspy.Predict("question -> answer"))
        sb.serve_program(ctx, "threaded", Plain())
    for name in ("awaited", "threaded"):
        recording_lm.reply(lambda body: {field: FIXED[field] for field in asked_fields(body)})
        assert sb.load(await ctx.call_tool(name, question="why?")).answer == FIXED["answer"]
    assert all("JSON" in str(body["messages"][-1]) for body in recording_lm.requests)


async def test_a_program_that_streams_has_to_give_a_prediction(ctx: SessionContext) -> None:
    class Text(dspy.Module):
        async def aforward(self, question: str) -> str:
            return question

    await sb.serve_program_async(ctx, "text", Text())
    assert await ctx.call_tool("text", question="why?") == "why?"
    await sb.serve_program_async(ctx, "streamed", Text(), stream=list)
    with pytest.raises(TypeError, match="Prediction"):
        await anext(aiter(ctx.stream_tool("streamed", question="why?")))


async def test_a_program_that_leaves_takes_nobody_with_it(ctx: SessionContext) -> None:
    class Leaving(dspy.Module):
        async def aforward(self, question: str) -> Any:
            raise SystemExit(question)

    class LeavingAtOnce(dspy.Module):
        def forward(self, question: str) -> Any:
            raise SystemExit(question)

    for number, (program, stream) in enumerate(
        [(Leaving(), None), (LeavingAtOnce(), None), (Leaving(), list), (LeavingAtOnce(), list)]
    ):
        await sb.serve_program_async(ctx, f"leaving{number}", program, stream=stream)
        for _ in range(2):
            with pytest.raises(ToolFailedError, match="SystemExit: bye"):
                async for _ in ctx.stream_tool(f"leaving{number}", question="bye"):
                    pass


@pytest.mark.parametrize("stream", [["draft"], ["nothing"], "answer", ["first.reasoning"]])
def test_what_cannot_be_streamed_is_refused_when_it_is_served(stream: Any, blocking: BlockingContext) -> None:
    class Twice(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = dspy.Predict("question -> answer")
            self.second = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            return self.first(question=question)

    with pytest.raises(sb.BindingError, match=r"first\.answer"):
        sb.serve_program(blocking, "twice", Twice(), stream=stream)
    assert blocking.list_tools() == []


async def test_all_outputs_are_streamed_if_nobody_says_which(ctx: SessionContext, lm: RecordingLM) -> None:
    lm.reply(fixed)
    await sb.serve_program_async(ctx, "all", dspy.ChainOfThought("question -> answer"), stream=True)
    items = [sb.load(item) async for item in ctx.stream_tool("all", question="why?")]
    assert {item.signature_field_name for item in items[:-1]} == {"reasoning", "answer"}
