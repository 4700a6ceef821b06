"""What a language model says that calls the tools that a test wants, whichever agent asks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from tests.dspy.support.interpreters import rlm
from tests.support.recording_lm import asked_fields

Calls = Sequence[tuple[str, dict[str, Any]]]

ANSWER = "that is all"


def calling(*calls: tuple[str, dict[str, Any]], code: str = "") -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers as a model that makes these calls, one in each step of a ReAct, else at once; then it answers."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        said, fields = str(body["messages"]), asked_fields(body)
        step = sum(f"observation_{number}" in said for number in range(len(calls)))
        if "next_tool_name" in fields:
            name, arguments = calls[step] if step < len(calls) else ("finish", {})
            return {"next_thought": "t", "next_tool_name": name, "next_tool_args": arguments}
        if "tool_calls" in fields:
            # The answer of the first step is in the history of the second.
            asked = [{"name": name, "args": arguments} for name, arguments in calls]
            done = [{"name": "submit", "args": {"answer": ANSWER}}]
            return {
                "next_thought": "t",
                "tool_calls": {"tool_calls": done if "next_thought" in said_by(body) else asked},
            }
        if "code" in fields:
            return {"reasoning": "r", "code": f"```python\n{code or coded(calls)}\n```"}
        return {"reasoning": "r", "answer": ANSWER}

    return answer


def said_by(body: dict[str, Any]) -> str:
    """What the model itself has said in a request."""
    return str([message["content"] for message in body["messages"] if message["role"] == "assistant"])


def coded(calls: Calls) -> str:
    """The calls as code, and their results as the answer."""
    lines = [
        f"r{number} = {name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        for number, (name, arguments) in enumerate(calls)
    ]
    return "\n".join([*lines, f"SUBMIT(answer=str([{', '.join(f'r{number}' for number in range(len(calls)))}]))"])


def react(tools: list[Any]) -> Any:
    return dspy.ReAct("question -> answer", tools=tools, max_iters=4)


def react_v2(tools: list[Any]) -> Any:
    return dspy.ReActV2("question -> answer", tools=tools, max_iters=4)


def parallel(tools: list[Any]) -> Any:
    return sb.ParallelReActV2("question -> answer", tools=tools, max_iters=4)


def recursive(tools: list[Any]) -> Any:
    return rlm(tools=tools, max_iters=2)


NEEDS_V2 = pytest.mark.skipif(not hasattr(dspy, "ReActV2"), reason="this DSPy has no ReActV2")
AGENTS = [react, pytest.param(react_v2, marks=NEEDS_V2), pytest.param(parallel, marks=NEEDS_V2), recursive]
