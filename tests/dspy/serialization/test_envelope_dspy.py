"""The envelope: DSPy's own classes."""

from __future__ import annotations

import datetime as dt
import json
from types import GenericAlias
from typing import Any

import dspy
import numpy as np
import pytest

import snakepit_bridge.dspy_integration as sb
from tests.dspy.support.envelopes import round_trip, same

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
}


_CITED = {
    "cited_text": "so",
    "document_index": 0,
    "start_char_index": 0,
    "end_char_index": 2,
    "supported_text": "it is",
}


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


@pytest.mark.parametrize("tag", ["Noul", "ToolCallResults", "AttributeDict"])
def test_what_this_dspy_lacks_is_refused_and_named(tag: str) -> None:
    from snakepit_bridge.dspy_integration.serialization import dspy_types

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
