"""The envelope: what real programs answer, through variables and into other processes."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.envelopes import round_trip, same
from tests.dspy.support.interpreters import rlm
from tests.dspy.support.programs import agent, as_agent
from tests.support.recording_lm import RecordingLM


def _predictor(session: Any, signature: Any = "question -> answer", module: Any = dspy.Predict) -> Any:
    return sb.bind(module(signature), {"temperature": "t"}, session=session)


def test_all_completions_usage_and_revision_of_a_bound_program_come_back(
    session: BlockingContext, other: BlockingContext, lm: RecordingLM
) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    other.set_variable("t", 0.5)
    with dspy.context(track_usage=True):
        made = program(question="why?", config={"n": 3})
    back = round_trip(made)
    assert lm.requests[0]["temperature"] == 0.5
    assert len(back.completions) == 3
    assert back.completions.answer == made.completions.answer
    assert back.completions[2].answer == made.completions[2].answer
    assert back.get_lm_usage() == made.get_lm_usage()
    assert next(iter(back.get_lm_usage().values()))["total_tokens"] > 0
    assert sb.revision_of(back) == sb.revision_of(made) == other.revision
    assert same(back, made)


def test_the_dump_of_an_answer_has_the_documented_shape(session: BlockingContext, lm: RecordingLM) -> None:
    plain = sb.dump(_predictor(session)(question="why?"))
    assert plain == {
        "$dspy": "Prediction",
        "fields": {"answer": "answer 1"},
        "completions": {"answer": ["answer 1"]},
        "usage": None,
        "revision": session.revision,
    }


def test_reasoning_of_a_chain_of_thought_comes_back(session: BlockingContext, lm: RecordingLM) -> None:
    made = _predictor(session, module=dspy.ChainOfThought)(question="why?")
    back = round_trip(made)
    assert same(back, made)
    assert type(back.reasoning) is type(made.reasoning)
    assert str(back.reasoning) == "reasoning 1"


def test_the_trajectory_of_an_agent_comes_back(session: BlockingContext, lm: RecordingLM) -> None:
    lm.reply(as_agent)
    made = sb.bind(agent(), {"temperature": "t"}, session=session)(question="how many?")
    back = round_trip(made)
    assert same(back, made)
    assert list(back.trajectory) == list(made.trajectory)
    assert back.trajectory["observation_0"] == "Rome: 42"
    assert sb.revision_of(back) == sb.revision_of(made) is not None


@pytest.mark.skipif(not hasattr(dspy, "ReActV2"), reason="this DSPy has no ReActV2")
def test_the_history_of_a_tool_calling_agent_comes_back(session: BlockingContext, lm: RecordingLM) -> None:
    def population(city: str) -> dict[str, Any]:
        """The number of people in a city."""
        return {"city": city, "people": 2**60, "as_of": dt.date(2024, 1, 1)}

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        looked = "2024" in str(body["messages"])
        call = (
            {"name": "submit", "args": {"answer": "42"}} if looked else {"name": "population", "args": {"city": "Rome"}}
        )
        return {"next_thought": "so", "tool_calls": {"tool_calls": [call]}}

    lm.reply(answer)
    made = sb.bind(dspy.ReActV2("question -> answer", tools=[population]), {"temperature": "t"}, session=session)(
        question="how many?"
    )
    back = round_trip(made)
    assert same(back, made)
    calls = back.history.messages[0]["tool_calls"]
    assert calls.tool_calls[0].id == made.history.messages[0]["tool_calls"].tool_calls[0].id is not None
    assert calls.tool_call_results.tool_call_results[0].value["as_of"] == dt.date(2024, 1, 1)


def test_the_trajectory_of_a_recursive_program_comes_back(session: BlockingContext, lm: RecordingLM) -> None:
    lm.reply(lambda body: {"reasoning": "easy", "code": "SUBMIT(answer='42')"})
    made = sb.bind(rlm(max_iters=2), {"temperature": "t"}, session=session)(question="how many?")
    back = round_trip(made)
    assert same(back, made)
    assert back.answer == "42"
    assert back.trajectory[0]["code"]


def test_the_result_of_an_evaluation_comes_back(session: BlockingContext, lm: RecordingLM) -> None:
    devset = [dspy.Example(question=str(n), answer=f"answer {n}").with_inputs("question") for n in range(2)]
    evaluate = dspy.Evaluate(
        devset=devset, metric=lambda gold, made, trace=None: 0.5, num_threads=1, display_progress=False
    )
    result = evaluate(_predictor(session))
    back = round_trip(result)
    assert type(back) is type(result)
    assert same(back, result)
    assert back.score == 50.0


def test_examples_with_rich_values_travel_through_a_session_variable(
    session: BlockingContext, other: BlockingContext
) -> None:
    demos = [
        dspy.Example(question="who?", image=dspy.Image("gs://b/a.png"), at=dt.datetime.now(dt.UTC)).with_inputs(
            "image"
        ),
        dspy.Example(question="how much?", vector=np.arange(3, dtype="float32"), tags={"a", "b"}, n=2**70),
    ]
    session.register_variable("demos", "list", [sb.dump(demo) for demo in demos])
    assert same([sb.load(plain) for plain in other.get_variable("demos")], demos)


def test_an_answer_is_read_in_another_process(session: BlockingContext, lm: RecordingLM, tmp_path: Path) -> None:
    made = _predictor(session)(question="why?")
    (tmp_path / "answer.json").write_text(json.dumps(sb.dump(made)))
    code = (
        "import json, sys, snakepit_bridge.dspy_integration as sb\n"
        "answer = sb.load(json.load(open(sys.argv[1])))\n"
        "print(json.dumps([type(answer).__name__, answer.answer, len(answer.completions), sb.revision_of(answer)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "answer.json"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert json.loads(done.stdout) == ["Prediction", "answer 1", 1, sb.revision_of(made)]
