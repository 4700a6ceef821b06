"""Tools of another process in DSPy's agents."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from snakepit_bridge.dspy_integration.agents.errors import for_agents
from snakepit_bridge.dspy_integration.overlay.entry_points import has_aforward
from snakepit_bridge.exceptions import (
    BridgeError,
    CallCancelledError,
    CallTimeoutError,
    InvalidRequestError,
    LimitExceededError,
    ServerUnavailableError,
    SessionClosedError,
    SessionExpiredError,
    ToolFailedError,
    ToolNotFoundError,
    ToolUnavailableError,
)
from tests.dspy.support.agents import AGENTS, ANSWER, NEEDS_V2, calling, parallel, react
from tests.dspy.support.interpreters import INTERPRETER
from tests.support.recording_lm import RecordingLM
from tests.support.waiting import PATIENCE

Make = Callable[[list[Any]], Any]
Call = Callable[[Any], Any]


def tool(context: Any, name: str, **options: Any) -> Any:
    (found,) = sb.remote_tools(context, [name], **options)
    return found


@pytest.fixture(params=["call", "acall"])
def call(request: pytest.FixtureRequest) -> Call:
    if request.param == "call":
        return lambda program: program(question="why?")
    # Not every DSPy has an awaitable ReActV2.
    return lambda program: asyncio.run(
        program.acall(question="why?") if has_aforward(program) else dspy.asyncify(program)(question="why?")
    )


def everything_said(lm: RecordingLM) -> str:
    return json.dumps([body["messages"] for body in lm.requests])


@pytest.mark.parametrize("make", AGENTS)
def test_an_agent_calls_a_tool_of_another_process(
    make: Make, call: Call, lm: RecordingLM, offering: BlockingContext
) -> None:
    agent = make(sb.remote_tools(offering, ["population"]))
    lm.reply(calling(("population", {"city": "Paris"})))
    answer = call(agent)
    prompt = str(lm.requests[0]["messages"])
    assert "Says how many people live in a city." in prompt
    assert "May be left out: `year` (else 2026), `unit`" in prompt
    assert "2100000" in everything_said(lm) + str(dict(answer))


@pytest.mark.parametrize("make", AGENTS)
def test_a_model_is_told_a_failure_in_one_sentence_without_any_file(
    make: Make, call: Call, lm: RecordingLM, offering: BlockingContext
) -> None:
    agent = make(sb.remote_tools(offering, ["population", "refuse"]))
    calls = [("population", {"city": "Pari"}), ("population", {"town": "Paris"}), ("refuse", {"why": "not today"})]
    code = "\n".join(
        f"try:\n    {name}(**{arguments})\nexcept Exception as error:\n    print(error)" for name, arguments in calls
    )
    lm.reply(calling(*calls, code=code))
    call(agent)
    said = everything_said(lm)
    for sentence in ("no city is called Pari", "ValueError: not today", "InvalidRequestError"):
        assert sentence in said
    for trace in ("Traceback", ".py", "File \\", "snakepit_bridge"):
        assert trace not in said


def test_what_a_failed_tool_raises_is_ours_and_what_was_raised_there(offering: BlockingContext) -> None:
    with pytest.raises(ValueError, match=r"^not today$") as raised:
        tool(offering, "refuse")(why="not today")
    assert isinstance(raised.value, ToolFailedError)
    assert raised.value.type == "ValueError"
    with pytest.raises(KeyError):
        asyncio.run(tool(offering, "population").acall(city="Pari"))


def test_people_still_see_where_a_remote_tool_was_called(offering: BlockingContext) -> None:
    try:
        tool(offering, "refuse")(why="not today")
    except ValueError as error:
        caught = error
        shown = traceback.format_exc()
    assert "in test_people_still_see" in shown
    assert "in test_people_still_see" in "".join(traceback.format_exception(caught))
    again = pickle.loads(pickle.dumps(caught))
    assert isinstance(again, ValueError)
    assert (str(again), type(again).__name__, again.facts) == ("not today", "ValueError", caught.facts)  # type: ignore[attr-defined]
    assert str(copy.copy(caught)) == "not today"


def test_a_failure_can_go_through_what_sets_tracebacks(offering: BlockingContext) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(tool(offering, "refuse").acall(why="not today"))

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(main())
    assert raised.group_contains(ValueError, match="not today")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="not today"):
        pool.submit(tool(offering, "refuse"), why="not today").result()


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("population", {}, "arguments.city"),
        ("population", {"city": 3}, "arguments.city"),
        ("population", {"city": "Rome", "unit": "cows"}, "arguments.unit"),
        ("population", {"city": "Rome", "self": 1, "instance": 2, "fn": 3, "tool": 4, "name": 5}, "arguments.self"),
        ("describe", {"place": {"name": "Rome", "within": {"name": 3}}}, "arguments.place"),
    ],
)
def test_the_server_checks_the_arguments_as_a_whole(
    name: str, arguments: dict[str, Any], field: str, offering: BlockingContext
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        tool(offering, name)(**arguments)
    assert raised.value.field.startswith(field)
    assert name in str(raised.value)


@pytest.mark.parametrize(
    "value", ["é🎉", [1, [2.5, {"a": None}]], {"a": {"b": []}}, None, 2**60, 0.1, True, "x" * 1_000_000]
)
def test_arguments_and_results_of_every_json_type_travel_unchanged(value: Any, offering: BlockingContext) -> None:
    back = tool(offering, "echo")(value=value)
    assert (back, type(back)) == (value, type(value))


def test_arguments_left_out_may_be_null_and_nested_ones_are_shown_in_full(offering: BlockingContext) -> None:
    describe = tool(offering, "describe")
    assert describe(place={"name": "Rome", "within": {"name": "Italy"}}, style=None) == "Rome in Italy, plainly"
    assert tool(offering, "population")(city="Rome", year=None, unit=None) == 2_800_000
    assert "$ref" not in str(describe)
    assert set(describe.args["place"]["properties"]) == {"name", "within"}


def adapters() -> list[Any]:
    found: list[Any] = [dspy.ChatAdapter(), dspy.JSONAdapter(use_native_function_calling=False), dspy.XMLAdapter()]
    return found + ([dspy.BAMLAdapter()] if hasattr(dspy, "BAMLAdapter") else [])


ASK = "question, tools: list[dspy.Tool] -> tool_calls: dspy.ToolCalls"


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: type(adapter).__name__)
def test_every_adapter_shows_a_model_what_a_tool_takes(
    adapter: Any, lm: RecordingLM, offering: BlockingContext
) -> None:
    tools = sb.remote_tools(offering, ["population", "describe"])
    call = {"tool_calls": [{"name": "population", "args": {"city": "Rome"}}]}
    text = json.dumps({"tool_calls": call})
    xml = f"<tool_calls>{json.dumps(call)}</tool_calls>"
    chat = f"[[ ## tool_calls ## ]]\n{json.dumps(call)}\n\n[[ ## completed ## ]]"
    lm.reply({dspy.XMLAdapter: xml, dspy.ChatAdapter: chat}.get(type(adapter), text))
    with dspy.context(adapter=adapter):
        answer = dspy.Predict(ASK)(question="why?", tools=tools)
    assert answer.tool_calls.tool_calls[0].args == {"city": "Rome"}
    prompt = str(lm.requests[0]["messages"])
    for shown in ("population", "its English name.", "thousands", "`year` (else 2026)", "Place"):
        assert shown in prompt


@pytest.mark.skipif(not hasattr(dspy, "lm15"), reason="LiteLLM, which older DSPys ask, wants mcp installed for this")
def test_native_function_calling_sends_what_is_required_and_only_that(
    lm: RecordingLM, offering: BlockingContext
) -> None:
    tools = sb.remote_tools(offering, ["population", "describe"])
    with dspy.context(adapter=dspy.ChatAdapter(use_native_function_calling=True)):
        dspy.Predict("question, tools: list[dspy.Tool] -> answer, tool_calls: dspy.ToolCalls")(
            question="why?", tools=tools
        )
    population, describe = (sent["function"] for sent in lm.requests[0]["tools"])
    assert population["parameters"]["required"] == ["city"]
    assert population["parameters"]["properties"]["unit"]["enum"] == ["people", "thousands"]
    assert describe["parameters"]["required"] == ["place"]
    assert "$ref" not in json.dumps(describe)


@NEEDS_V2
def test_the_calls_of_one_step_run_at_the_same_time(call: Call, lm: RecordingLM, offering: BlockingContext) -> None:
    def local(number: int) -> int:
        """Runs here."""
        return number + 1

    agent = parallel([*sb.remote_tools(offering, ["meet", "refuse"]), local])
    room = f"{call}"
    meet = ("meet", {"room": room})
    lm.reply(calling(meet, ("local", {"number": 41}), ("refuse", {"why": "not today"}), meet, ("nothing", {})))
    answer = call(agent)
    assert answer.answer == ANSWER
    (step,) = [event["tool_calls"] for event in answer.history.messages if "tool_calls" in event][:1]
    results = step.tool_call_results.tool_call_results
    assert [result.name for result in results] == ["meet", "local", "refuse", "meet", "nothing"]
    assert [results[0].value, results[1].value, results[3].value] == [f"met in {room}", 42, f"met in {room}"]
    assert [result.is_error for result in results] == [False, False, True, False, True]


def test_calls_run_at_the_same_time_from_tasks_threads_and_code(lm: RecordingLM, offering: BlockingContext) -> None:
    meet = tool(offering, "meet")

    async def both() -> Any:
        return await asyncio.gather(meet.acall(room="tasks"), meet.acall(room="tasks"))

    assert asyncio.run(both()) == ["met in tasks"] * 2
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: meet(room="threads"), range(2))) == ["met in threads"] * 2
    lm.reply(calling(("meet", {"room": "parallel"})))
    agent = react([meet])
    answers = dspy.Parallel(num_threads=2, disable_progress_bar=True)(
        [(agent, dspy.Example(question="why?").with_inputs("question"))] * 2
    )
    assert [answer.trajectory["observation_0"] for answer in answers] == ["met in parallel"] * 2
    lm.reply(calling(("meet", {"room": "asyncified"})))

    async def twice() -> Any:
        awaited = dspy.asyncify(agent)
        return await asyncio.gather(awaited(question="why?"), awaited(question="why?"))

    assert [answer.trajectory["observation_0"] for answer in asyncio.run(twice())] == ["met in asyncified"] * 2


@pytest.mark.skipif(not hasattr(dspy, "LocalInterpreter"), reason="the tests' own interpreter runs one call at a time")
def test_code_that_an_agent_writes_calls_tools_at_the_same_time(lm: RecordingLM, offering: BlockingContext) -> None:
    agent = dspy.RLM("question -> answer", tools=sb.remote_tools(offering, ["meet"]), **INTERPRETER)
    lm.reply(calling(code=(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    met = list(pool.map(lambda _: meet(room='code'), range(2)))\n"
        "SUBMIT(answer=str(met))"
    )))  # fmt: skip
    assert agent(question="why?").answer == "['met in code', 'met in code']"


async def test_awaiting_a_tool_leaves_the_loop_free_and_cancelling_ends_the_call(
    offering: BlockingContext, session_id: str
) -> None:
    async with SessionContext.connect(offering.address, session_id=offering.session_id) as ctx:
        (linger,) = await sb.remote_tools_async(ctx, ["linger"], timeout=60)
        waiting = asyncio.create_task(linger.acall(seconds=60.0))
        while not (await ctx.tool_status("linger")).stats.in_flight:
            pass
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while (await ctx.tool_status("linger")).stats.in_flight:
            pass
        assert (await ctx.tool_status("linger")).stats.cancellations == 1


def test_a_variable_decides_which_remote_tools_the_next_forward_has(
    call: Call, lm: RecordingLM, offering: BlockingContext
) -> None:
    offering.register_variable("toolset", "list", ["population"], replace=True)
    agent = react([])
    sb.bind(agent, {"tools": "toolset"}, session=offering, tools=sb.remote_tools(offering, ["population", "echo"]))
    for chosen, other, arguments in (("population", "echo", {"city": "Rome"}), ("echo", "population", {"value": 7})):
        offering.set_variable("toolset", [chosen])
        lm.reply(calling((chosen, arguments)))
        start = len(lm.requests)
        answer = call(agent)
        prompt = str(lm.requests[start]["messages"])
        assert f"(1) {chosen}" in prompt
        assert other not in prompt
        assert answer.trajectory["observation_0"] in {2_800_000, 7}


@pytest.mark.skipif(not hasattr(dspy, "CodeAct"), reason="this DSPy has no CodeAct")
@pytest.mark.filterwarnings("ignore:CodeAct is deprecated:DeprecationWarning")
def test_a_code_act_refuses_a_remote_tool_when_it_is_made(offering: BlockingContext) -> None:
    population = tool(offering, "population")
    classes = [dspy.CodeAct, *([sb.VariableAwareCodeAct] if hasattr(sb, "VariableAwareCodeAct") else [])]
    for code_act in classes:
        with pytest.raises(sb.BindingError, match=r"dspy\.ReAct or dspy\.RLM"):
            code_act("question -> answer", tools=[population])
    assert "population" in str(population)


def test_a_tool_that_is_not_there_is_an_error_that_says_what_is(offering: BlockingContext) -> None:
    with pytest.raises(ToolNotFoundError, match="population") as raised:
        sb.remote_tools(offering, ["population", "poplation"])
    assert raised.value.tool == "poplation"
    names = [found.name for found in sb.remote_tools(offering, ["echo", "population", "echo"])]
    assert names == ["echo", "population"]
    assert {"echo", "population", "meet"} <= {found.name for found in sb.remote_tools(offering)}
    assert tool(offering, "echo").name == sb.remote_tools(offering, "echo")[0].name


def test_a_tool_has_the_name_that_an_agent_needs(lm: RecordingLM, offering: BlockingContext) -> None:
    dotted = tool(offering, "geo.population-of")
    with pytest.raises(ValueError, match="identifier"):
        dspy.RLM("question -> answer", tools=[dotted], **INTERPRETER)
    dotted.name = "population_of"
    lm.reply(calling(("population_of", {"city": "Rome"})))
    assert "2800000" in dspy.RLM("question -> answer", tools=[dotted], **INTERPRETER)(question="why?").answer


def test_copies_share_the_session_and_pickling_is_refused(lm: RecordingLM, offering: BlockingContext) -> None:
    population = tool(offering, "population")
    agent = react([population]).deepcopy()
    lm.reply(calling(("population", {"city": "Paris"})))
    assert agent(question="why?").trajectory["observation_0"] == 2_100_000
    for copied in (copy.copy(population), copy.deepcopy(population), population.model_copy(update={"name": "p"})):
        assert copied(city="Rome") == 2_800_000
    for dump, thing in ((pickle.dumps, population), (cloudpickle.dumps, population), (cloudpickle.dumps, agent)):
        with pytest.raises(TypeError, match=r"sb\.remote_tools"):
            dump(thing)


def test_callbacks_of_dspy_hear_of_calls(offering: BlockingContext) -> None:
    heard: list[Any] = []

    class Listener(dspy.utils.BaseCallback):
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            heard.append((instance.name, inputs))

        def on_tool_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
            heard.append((outputs, type(exception).__name__))

    with dspy.context(callbacks=[Listener()]):
        tool(offering, "population")(city="Rome")
        with pytest.raises(ValueError, match="no"):
            asyncio.run(tool(offering, "refuse").acall(why="no"))
    assert heard == [
        ("population", {"kwargs": {"city": "Rome"}}), (2_800_000, "NoneType"),
        ("refuse", {"kwargs": {"why": "no"}}), (None, "ValueError"),
    ]  # fmt: skip


def test_a_slow_tool_a_closed_session_and_a_server_that_is_away_are_told_in_plain_words(
    lm: RecordingLM, offering: BlockingContext, start_server: Callable[..., LocalServer]
) -> None:
    server = start_server()
    worker = SessionContext.connect(server.address, session_id="s").blocking
    worker.offer(lambda: 1, name="gone")
    worker.offer(lambda: 1, name="away")
    other = SessionContext.connect(server.address, session_id="s").blocking
    gone, away = sb.remote_tools(other, ["gone", "away"])
    closed_context = SessionContext.connect(server.address, session_id="s").blocking
    closed = tool(closed_context, "gone").model_copy(update={"name": "closed"})
    closed_context.close()
    worker.withdraw("gone")
    slow = tool(offering, "linger", timeout=0.2)

    errors: list[type[BridgeError]] = []
    for one, arguments in ((gone, {}), (closed, {}), (slow, {"seconds": 60.0}), (away, {})):
        if one is away:
            worker.close()
            server.close()
        lm.reply(calling((one.name, arguments)))
        start = len(lm.requests)
        react([one])(question="why?")
        said = json.dumps(lm.requests[start:])
        for trace in ("Traceback", ".py", "File \\", "snakepit", "127.0.0.1", "grpc", "127.0"):
            assert trace not in said, one
        with pytest.raises(BridgeError) as raised:
            one(**arguments)
        assert str(raised.value) in said
        errors.append(type(raised.value))
    kinds = [ToolNotFoundError, SessionClosedError, CallTimeoutError, ServerUnavailableError]
    assert [issubclass(error, kind) for error, kind in zip(errors, kinds, strict=True)] == [True] * 4
    other.close()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CallCancelledError("call c1 was cancelled by ann@host", {"by": "ann@host"}), "the call of t was cancelled"),
        (
            ToolUnavailableError("worker w1 was lost", {"dispatched": "true"}),
            "t was interrupted before it could answer",
        ),
        (ToolUnavailableError("its breaker is open", {"dispatched": "false"}), "t is not available now"),
        (SessionExpiredError("session s has expired"), "t cannot be called any more"),
        (LimitExceededError("arguments have more than 16 MiB"), "arguments have more than 16 MiB"),
        (ToolFailedError("tool 't' failed with {}: {}", {"type": "{}", "message": "{} {t}"}), "{} {t}"),
        (TypeError("not so"), "not so"),
    ],
)
def test_a_model_reads_what_it_can_do_something_with(error: Exception, sentence: str) -> None:
    kind = type(error)
    seen = for_agents(error, "t")
    assert isinstance(seen, kind)
    assert str(seen).startswith(sentence)
    told = traceback.format_exception_only(seen)
    assert told == [f"{type(seen).__name__}: {seen}\n"]


def test_an_error_that_nobody_catches_is_printed_with_its_traceback(offering: BlockingContext) -> None:
    code = (
        "import sys, snakepit_bridge.dspy_integration as sb; from snakepit_bridge import SessionContext\n"
        "ctx = SessionContext.connect(sys.argv[1], session_id=sys.argv[2]).blocking\n"
        "def main(): sb.remote_tools(ctx, 'refuse')[0](why='not today')\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, offering.address, offering.session_id]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert "in main" in printed
    assert printed.splitlines()[-1] == "ValueError: not today"


def test_dspy_reads_the_signature_of_the_function(offering: BlockingContext) -> None:
    population = tool(offering, "population")
    assert inspect.isfunction(population.func)
    assert population.func.__name__ == "population"
    assert str(inspect.signature(population.func)) == (
        "(*, city: str, year: int = 2026, unit: Literal['people', 'thousands'] = 'people')"
    )
    assert population.func(city="Rome") == 2_800_000
