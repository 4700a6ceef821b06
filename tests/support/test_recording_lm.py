"""The recording LM speaks to a real DSPy LM, so that what it recorded is what a provider would have got."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import dspy
import pytest

from tests.support.recording_lm import RecordingLM


@pytest.fixture
def server() -> Iterator[RecordingLM]:
    with RecordingLM() as server:
        yield server


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=["chat", "json"])
def test_a_mapping_is_answered_in_the_form_the_adapter_asked_for(server: RecordingLM, adapter: dspy.Adapter) -> None:
    server.reply({"reasoning": "two and two", "answer": '4 ]] { "é'})
    with dspy.context(lm=server.lm(), adapter=adapter):
        prediction = dspy.ChainOfThought("question -> answer")(question="2+2?", config={"temperature": 0.25})
    assert (prediction.reasoning, prediction.answer) == ("two and two", '4 ]] { "é')
    assert [body["temperature"] for body in server.requests] == [0.25]
    assert "2+2?" in json.dumps(server.requests[0]["messages"])
    assert server.headers[0]["authorization"] == "Bearer test-key"


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=["chat", "json"])
async def test_without_a_reply_every_asked_field_is_answered_in_sync_and_async_calls(
    server: RecordingLM, adapter: dspy.Adapter
) -> None:
    program = dspy.ChainOfThought("question -> answer, source")
    with dspy.context(lm=server.lm(), adapter=adapter):
        first = program(question="?")
        second = await program.acall(question="?")
    assert (first.reasoning, first.answer, first.source) == ("reasoning 1", "answer 1", "source 1")
    assert second.answer == "answer 2"


def test_a_reply_may_be_computed_from_the_request(server: RecordingLM) -> None:
    server.reply(lambda body: {"answer": body["model"]})
    with dspy.context(lm=server.lm("openai/gpt-4.1-nano")):
        assert dspy.Predict("question -> answer")(question="?").answer == "gpt-4.1-nano"


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=["chat", "json"])
async def test_a_streamed_answer_arrives_in_pieces_and_whole(server: RecordingLM, adapter: dspy.Adapter) -> None:
    server.reply({"answer": "one two three four five six seven eight nine ten"})
    program = dspy.streamify(
        dspy.Predict("question -> answer"), stream_listeners=[dspy.streaming.StreamListener("answer")]
    )
    pieces: list[str] = []
    final: Any = None
    with dspy.context(lm=server.lm(), adapter=adapter):
        async for item in program(question="?"):
            if isinstance(item, dspy.Prediction):
                final = item
            else:
                pieces.append(item.chunk)
    assert final.answer == "one two three four five six seven eight nine ten"
    assert len(pieces) > 1
    assert "".join(pieces).strip(' "') == final.answer  # DSPy streams JSON text with its quotes
    assert server.requests[0]["stream"] is True


def test_usage_is_counted(server: RecordingLM) -> None:
    lm = server.lm()
    with dspy.context(lm=lm, track_usage=True):
        prediction = dspy.Predict("question -> answer")(question="?")
    (usage,) = prediction.get_lm_usage().values()
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0


def test_a_reply_that_raises_fails_the_call_and_is_recorded(server: RecordingLM) -> None:
    def fail(_body: dict[str, Any]) -> str:
        raise RuntimeError("out of order")

    server.reply(fail)
    with dspy.context(lm=server.lm()), pytest.raises(Exception, match="out of order"):
        dspy.Predict("question -> answer")(question="?")
    assert len(server.requests) >= 1


def test_unknown_paths_are_not_found_and_the_models_are_listed(server: RecordingLM) -> None:
    with urllib.request.urlopen(f"{server.url}/models") as response:
        assert [model["id"] for model in json.load(response)["data"]] == ["gpt-4o-mini"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.url}/embeddings", data=b"{}")
    with refused.value as error:
        assert error.code == 404
    assert server.requests == []
