"""An agent's tools follow a variable: what it can call, and what its prompt says it can."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.interpreters import rlm
from tests.dspy.support.programs import population, prompt_of
from tests.support.recording_lm import RecordingLM, asked_fields

Call = Callable[[Any], Any]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


def mayor(city: str) -> str:
    """The mayor of a city."""
    return f"{city}: nobody"


def react(tools: list[Any]) -> Any:
    return dspy.ReAct("question -> answer", tools=tools, max_iters=2)


def react_v2(tools: list[Any]) -> Any:
    return dspy.ReActV2("question -> answer", tools=tools, max_iters=2)


def recursive(tools: list[Any]) -> Any:
    return rlm(tools=tools, max_iters=2)


KINDS = [
    react,
    pytest.param(react_v2, marks=pytest.mark.skipif(not hasattr(dspy, "ReActV2"), reason="this DSPy has no ReActV2")),
    recursive,
]


@pytest.fixture(params=["call", "acall"])
def call(request: pytest.FixtureRequest) -> Call:
    if request.param == "call":
        return lambda program: program(question="why?")
    return lambda program: asyncio.run(program.acall(question="why?"))


def choosing(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers as an agent that calls one tool and then is done."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        said = str(body["messages"])
        fields = asked_fields(body)
        if "next_tool_name" in fields:
            first = "observation_0" not in said
            return {
                "next_thought": "t", "next_tool_name": name if first else "finish",
                "next_tool_args": {"city": "Rome"} if first else {},
            }  # fmt: skip
        if "tool_calls" in fields:
            first = "Rome: " not in said and "Unknown tool" not in said
            one = {"name": name, "args": {"city": "Rome"}}
            last = {"name": "submit", "args": {"answer": "done"}}
            return {"next_thought": "t", "tool_calls": {"tool_calls": [one if first else last]}}
        if "code" in fields:
            return {"reasoning": "r", "code": f"```python\nSUBMIT(answer={name}(city='Rome'))\n```"}
        return {"reasoning": "r", "answer": "done"}

    return answer


@pytest.mark.parametrize("make", KINDS)
def test_an_agent_has_the_tools_that_its_variable_names(
    make: Callable[[list[Any]], Any], call: Call, lm: RecordingLM, blocking: BlockingContext
) -> None:
    blocking.register_variable("toolset", "list", ["population"])
    program = sb.bind(make([population, weather]), {"tools": "toolset"}, session=blocking, tools=[mayor])
    for name, others in (("population", ("weather", "mayor")), ("mayor", ("population", "weather"))):
        blocking.set_variable("toolset", [name])
        lm.reply(choosing(name))
        start = len(lm.requests)
        answer = call(program)
        prompt = str(lm.requests[start]["messages"])
        assert name in prompt
        assert not any(other in prompt for other in others)
        seen = str([body["messages"] for body in lm.requests[start:]]) + str(dict(answer))
        assert {"population": "Rome: 42", "mayor": "Rome: nobody"}[name] in seen
    assert set(program.tools) - {"finish", "submit"} == {"population", "weather"}, "outside a call it is as it was"


@pytest.mark.parametrize("make", KINDS)
def test_an_agent_cannot_call_a_tool_that_its_variable_left_out(
    make: Callable[[list[Any]], Any], lm: RecordingLM, blocking: BlockingContext
) -> None:
    called: list[str] = []

    def secret(city: str) -> str:
        """Not for everyone."""
        called.append(city)
        return "Rome: secret"

    blocking.register_variable("toolset", "list", ["population"])
    program = sb.bind(make([population, secret]), {"tools": "toolset"}, session=blocking)
    lm.reply(choosing("secret"))
    with contextlib.suppress(Exception):
        # Each class of agents has its own way to give up on such an LM.
        program(question="why?")
    assert called == []
    blocking.set_variable("toolset", ["secret"])
    program(question="why?")
    assert called == ["Rome"]


def test_the_order_of_the_tools_is_the_variables(lm: RecordingLM, blocking: BlockingContext) -> None:
    blocking.register_variable("toolset", "list", ["weather", "population"])
    program = sb.bind(react([population, weather]), {"tools": "toolset"}, session=blocking)
    lm.reply(choosing("weather"))
    program(question="why?")
    prompt = prompt_of(lm.requests[0])
    assert prompt.index("(1) weather") < prompt.index("(2) population") < prompt.index("(3) finish")


def test_tools_task_and_descriptions_change_together(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("toolset", "list", ["weather"])
    session.register_variable("d", "string", "what people ask")
    wanted = {"tools": "toolset", "instructions": "prompt", "fields['question'].desc": "d", "temperature": "t"}
    program = sb.bind(react([population, weather]), wanted, session=session)
    lm.reply(choosing("weather"))
    program(question="why?")
    prompt = prompt_of(lm.requests[0])
    for text in ("Answer like a pirate.", "what people ask", "(1) weather", "You are an Agent."):
        assert text in prompt
    assert "population" not in prompt
    assert {body["temperature"] for body in lm.requests} == {0.25}


def test_a_prompt_that_an_optimizer_wrote_gets_the_tools_appended(lm: RecordingLM, blocking: BlockingContext) -> None:
    program = react([population, weather])
    program.react.signature = program.react.signature.with_instructions("Think twice.")
    blocking.register_variable("toolset", "list", ["weather"])
    sb.bind(program, {"tools": "toolset"}, session=blocking)
    lm.reply(choosing("weather"))
    program(question="why?")
    prompt = prompt_of(lm.requests[0])
    assert prompt.index("Think twice.") < prompt.index("(1) weather")
    assert "Rome: sunny" in str(lm.requests[1])


@pytest.mark.parametrize("value", [["nothing"], ["population", "population"], [1], ["finish"]])
def test_a_list_of_other_than_known_tools_is_refused(
    value: list[Any], lm: RecordingLM, blocking: BlockingContext
) -> None:
    blocking.register_variable("toolset", "list", ["population"])
    program = sb.bind(react([population, weather]), {"tools": "toolset"}, session=blocking)
    blocking.set_variable("toolset", value)
    with pytest.raises(sb.BindingError):
        program(question="why?")
    with pytest.raises(sb.BindingError):
        sb.bind(react([population, weather]), {"tools": "toolset"}, session=blocking)
    assert lm.requests == []


def test_what_is_no_tool_or_no_agent_is_refused(blocking: BlockingContext) -> None:
    blocking.register_variable("toolset", "list", ["population"])

    def finish() -> str:
        return "mine"

    for tools in (["population"], [finish], [weather, weather]):
        with pytest.raises(sb.BindingError):
            sb.bind(react([population]), {"tools": "toolset"}, session=blocking, tools=tools)
    with pytest.raises(sb.BindingError):
        sb.bind(dspy.Predict("question -> answer"), {"tools": "toolset"}, session=blocking)


def test_a_tool_may_be_given_under_another_name(lm: RecordingLM, blocking: BlockingContext) -> None:
    blocking.register_variable("toolset", "list", ["sky"])
    program = sb.bind(
        react([population]), {"tools": "toolset"}, session=blocking, tools={"sky": weather, "m": dspy.Tool(mayor)}
    )
    lm.reply(choosing("sky"))
    program(question="why?")
    assert "Rome: sunny" in str(lm.requests[1])
    blocking.set_variable("toolset", ["m"])
    lm.reply(choosing("m"))
    program(question="why?")
    assert "Rome: nobody" in str(lm.requests[-1])


def test_assigned_tools_are_no_longer_the_variables(
    lm: RecordingLM, blocking: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    blocking.register_variable("toolset", "list", ["weather"])
    program = sb.bind(react([population, weather]), {"tools": "toolset"}, session=blocking)
    program.tools = react([population]).tools
    assert "tools" in caplog.text
    assert set(program.tools) == {"population", "finish"}
    lm.reply(choosing("population"))
    program(question="why?")
    assert "Rome: 42" in str(lm.requests[1])


def test_a_copy_of_an_agent_follows_too_and_unbinding_gives_all_tools_back(
    lm: RecordingLM, blocking: BlockingContext
) -> None:
    blocking.register_variable("toolset", "list", ["weather"])
    program = sb.bind(react([population, weather]), {"tools": "toolset"}, session=blocking)
    twin = program.deepcopy()
    lm.reply(choosing("weather"))
    twin(question="why?")
    assert "(1) weather" in prompt_of(lm.requests[0])
    sb.unbind(program)
    program(question="why?")
    assert "(1) population" in prompt_of(lm.requests[-3])
    assert "(2) weather" in prompt_of(lm.requests[-3])


def test_tools_and_adapters_are_shown_by_name(lm: RecordingLM, blocking: BlockingContext) -> None:
    blocking.register_variable("toolset", "list", ["weather"])
    blocking.register_variable("how", "string", "json")
    program = sb.bind(react([population, weather]), {"tools": "toolset", "adapter": "how"}, session=blocking)
    assert [line.split()[2] for line in str(sb.effective(program)).splitlines()[1:]] == ["['weather']", "JSONAdapter"]
