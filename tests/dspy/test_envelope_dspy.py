"""The envelope: DSPy's own classes, and what real programs answer."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from types import GenericAlias
from typing import Any

import dspy
import numpy as np
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.envelopes import round_trip, same
from tests.dspy.interpreters import rlm
from tests.dspy.programs import agent, as_agent
from tests.recording_lm import RecordingLM

_MARKER = "CUSTOM-TYPE-START-IDENTIFIER"


def _optional(module: str, name: str) -> Any:
    """A class that some versions of DSPy lack, or None."""
    try:
        return getattr(__import__(module, fromlist=[name]), name, None)
    except ImportError:
        return None


Citations = _optional("dspy.adapters.types.citation", "Citations")
Document = _optional("dspy.adapters.types.document", "Document")
Decisions = _optional("dspy.adapters.types", "decision")
AttributeDict = _optional("dspy.clients.call_result", "AttributeDict")
Results: Any = getattr(dspy, "ToolCallResults", None)
_needs = {
    "calls with ids": pytest.mark.skipif(Results is None, reason="this DSPy keeps no ids of tool calls"),
    "decisions": pytest.mark.skipif(Decisions is None, reason="this DSPy has no decision types"),
    "agent": pytest.mark.skipif(not hasattr(dspy, "ReActV2"), reason="this DSPy has no ReActV2"),
}


_CITED = {
    "cited_text": "so",
    "document_index": 0,
    "start_char_index": 0,
    "end_char_index": 2,
    "supported_text": "it is",
}


def _predictor(session: Any, signature: Any = "question -> answer", module: Any = dspy.Predict) -> Any:
    return sb.bind(module(signature), {"temperature": "t"}, session=session)


@pytest.mark.parametrize(
    ("value", "readable"),
    [
        (dspy.Image("https://example.org/a.png"), "https://example.org/a.png"),
        (dspy.Image("data:image/png;base64,AAEC"), "data:image/png;base64,AAEC"),
        (dspy.Audio(data="AAEC", audio_format="wav"), "AAEC"),
        (dspy.File.from_bytes(b"abc", filename="a.txt"), "a.txt"),
        (dspy.Reasoning(content="because"), "because"),
        (dspy.Code(code="x = 1"), "x = 1"),
        (dspy.Code["python"](code="x = 1"), "x = 1"),
        (dspy.Code["c++"](code="int x;"), "int x;"),
        (dspy.ToolCalls.from_dict_list([{"name": "look", "args": {"city": "Rome"}}]), "Rome"),
        (dspy.History(messages=[{"question": "Who?", "image": dspy.Image("gs://b/a.png")}]), "gs://b/a.png"),
        (Document(data="text", title="A title"), "A title"),
        (
            Citations(citations=[Citations.Citation(**_CITED)]),
            "it is",
        ),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_dspys_types_come_back_with_their_content_readable_between(value: Any, readable: str) -> None:
    text = json.dumps(sb.dump(dspy.Prediction(field=[value])))
    assert readable in text
    assert _MARKER not in text
    back = round_trip(value)
    assert type(back).__name__ == type(value).__name__
    assert vars(back) == vars(value)
    assert back.format() == value.format() if hasattr(value, "format") else back == value


def test_code_keeps_its_language_and_comes_back_as_the_class_of_a_given_signature() -> None:
    java, rust = dspy.Code["java"], dspy.Code["rust"]
    port = dspy.Signature(
        {"source": (java, dspy.InputField()), "target": (GenericAlias(list, rust), dspy.OutputField())}
    )
    value = java(code="class A {}")
    assert round_trip(value).language == "java"
    assert type(round_trip(dspy.Code(code="x"))) is dspy.Code
    for written in (value, rust(code="struct A;")):
        assert same(round_trip(written, types=[port]), written)


def test_code_with_a_fence_in_it_is_not_stripped_again() -> None:
    code = dspy.Code.model_construct(code="a\n```\nb\n```\nc")
    assert round_trip(code).code == code.code


@_needs["calls with ids"]
def test_tool_calls_keep_their_ids_and_results() -> None:
    call = dspy.ToolCalls.ToolCall
    calls = dspy.ToolCalls(tool_calls=[call(id="call_1", name="look", args={"n": 2**60}), call(name="look", args={})])
    results = Results.from_tool_calls_and_values(calls, [np.float64(0.5), dt.date(2024, 1, 1)], [False, True])
    back = round_trip(calls.model_copy(update={"tool_call_results": results}))
    assert [one.id for one in back.tool_calls] == ["call_1", None]
    assert back.tool_calls[0].args == {"n": 2**60}
    assert same(back.tool_call_results, results)
    assert back.tool_call_results.tool_call_results[1].is_error


@_needs["decisions"]
def test_decision_types_keep_what_they_were_declared_with() -> None:
    noul, score, choice = Decisions.Noul, Decisions.Score, Decisions.Choice
    decided = [
        noul(value=True, confidence=0.5),
        noul[(True, "blocked"), (False, {"means": ["usable"]})](value=False, confidence=0.25, probability=0.1),
        noul[((True, "blocked"),)](value=True, confidence=1),
        score["poor", ["fair"], "good"](value=1.5, confidence=0.5, probabilities={0: 0.1, 1: 0.9}, level=1),
        choice[("billing", "money"), (7, None), (True, "yes")](value=7, confidence=0.5, probabilities={"7": 1.0}),
    ]
    for value in decided:
        back = round_trip(value)
        assert type(back) is type(value)
        assert same(back, value)


@pytest.mark.skipif(AttributeDict is None, reason="this DSPy gives the provider's objects")
def test_log_probabilities_keep_their_attributes() -> None:
    from dspy.clients.call_result import attributes

    logprobs = attributes({"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]})
    back = round_trip(dspy.Prediction(answer="a", logprobs=logprobs))
    assert back.logprobs.content[0].logprob == -0.5
    assert same(back.logprobs, logprobs)


def test_what_a_repl_kept_comes_back() -> None:
    from dspy.primitives.repl_types import REPLHistory, REPLVariable

    history = REPLHistory().append(reasoning="look", code="print(1)", output="1").append(code="SUBMIT(1)", output="")
    variable = REPLVariable.from_value("context", ["a"])
    back = round_trip({"history": history, "variable": variable})
    assert same(back["history"], history)
    assert same(back["variable"], variable)


def test_chunks_of_a_stream_come_back() -> None:
    from dspy.streaming import StatusMessage, StreamResponse

    for chunk in (StreamResponse("self.ask", "answer", "one ", False), StatusMessage("calling a tool")):
        assert same(round_trip(chunk), chunk)


def test_an_example_keeps_inputs_demos_and_rich_values() -> None:
    example = dspy.Example(
        question="who?", when=dt.date(2024, 1, 1), image=dspy.Image("gs://b/a.png"), dspy_uuid="u", **{"a b": (1,)}
    )
    marked = example.with_inputs("question", "image")
    marked._demos = [dspy.Example(question="why?").with_inputs("question")]
    for value in (example, marked, example.with_inputs(), marked.inputs(), marked.labels()):
        back = round_trip(value)
        assert same(back, value)
        assert back == value
    back = round_trip(marked)
    assert back.inputs().keys() == ["question", "image"]
    assert same(back._demos, marked._demos)


def test_a_prediction_keeps_its_score() -> None:
    low, high = round_trip([dspy.Prediction(score=0.25), dspy.Prediction(score=np.float32(0.5))])
    assert low < high
    assert low + 1 == 1.25
    assert float(high) == 0.5
    assert repr(low) == repr(dspy.Prediction(score=0.25))


def test_a_prediction_without_completions_has_none_and_an_empty_one_is_empty() -> None:
    assert round_trip(dspy.Prediction(a=1)).completions is None
    assert dict(round_trip(dspy.Prediction.from_completions({})).completions.items()) == {}


def test_private_attributes_of_a_prediction_are_those_of_a_fresh_one() -> None:
    back = round_trip(dspy.Prediction(a=1))
    assert vars(back) == vars(dspy.Prediction(a=1))
    back.set_lm_usage({"lm": {"tokens": 1}})
    assert back.copy(a=2).a == 2


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


@_needs["agent"]
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
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert json.loads(done.stdout) == ["Prediction", "answer 1", 1, sb.revision_of(made)]


@pytest.mark.parametrize("tag", ["Noul", "ToolCallResults", "AttributeDict"])
def test_what_this_dspy_lacks_is_refused_and_named(tag: str) -> None:
    from snakepit_bridge.dspy_integration.envelope import dspy_types

    if dspy_types._CLASSES[tag] is not None:
        pytest.skip("this DSPy has it")
    with pytest.raises(sb.EnvelopeError) as refused:
        sb.load({"$dspy": tag, "fields": {}})
    assert refused.value.facts["tag"] == tag


def test_a_field_that_this_dspy_does_not_know_is_refused() -> None:
    with pytest.raises(sb.EnvelopeError):
        sb.load({"$dspy": "Reasoning", "fields": {"content": "so", "effort": "high"}})
    with pytest.raises(sb.EnvelopeError):
        sb.load({"$dspy": "Audio", "fields": {"data": "AAEC"}})
