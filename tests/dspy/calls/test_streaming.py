"""Streaming a bound program: chunks of inner predictors, and status messages, as of the call's own snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.streaming import StatusMessage, StatusMessageProvider, StreamListener, StreamResponse

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import Pair, prompt_of
from tests.support.recording_lm import RecordingLM, asked_fields

BINDINGS = {
    "temperature": "t",
    "draft.instructions": "prompt",
    "polish.predict.instructions": "prompt",
    "model": "model",
    "k": "tokens",
}

Consume = Callable[..., list[Any]]


def streamed(program: Any, **options: Any) -> list[Any]:
    async def run() -> list[Any]:
        return [value async for value in dspy.streamify(program, **options)(question="why?")]

    return asyncio.run(run())


def streamed_async(program: Any, **options: Any) -> list[Any]:
    return streamed(program, is_async_program=True, **options)


def streamed_sync(program: Any, **options: Any) -> list[Any]:
    return list(dspy.streamify(program, async_streaming=False, **options)(question="why?"))


@pytest.fixture
def moving(lm: RecordingLM, other: BlockingContext) -> RecordingLM:
    """The LM, while another client changes variables before each of its answers."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        number = len(lm.requests)
        values = {"t": number / 8, "prompt": f"Answer like judge {number}.", "model": f"gpt-{number}", "tokens": number}
        other.set_variables(values)
        return {field: f"the {field} in many words" for field in asked_fields(body)}

    lm.reply(answer)
    return lm


@pytest.mark.parametrize("consume", [streamed, streamed_async, streamed_sync])
def test_listeners_hear_inner_predictors_of_a_bound_program(
    consume: Consume, moving: RecordingLM, session: BlockingContext
) -> None:
    program = sb.bind(Pair(), BINDINGS, session=session)
    for first in (0, 2):
        listeners = [StreamListener(signature_field_name="draft"), StreamListener(signature_field_name="answer")]
        values = consume(program, stream_listeners=listeners)
        heard: dict[str, str] = {}
        for chunk in values[:-1]:
            assert isinstance(chunk, StreamResponse)
            heard[chunk.signature_field_name] = heard.get(chunk.signature_field_name, "") + chunk.chunk
        # Older DSPys stream the blank line after a field, too.
        assert {name: text.strip() for name, text in heard.items()} == {
            "draft": "the draft in many words",
            "answer": "the answer in many words",
        }
        assert values[-1].answer == "the answer in many words"
        requests = moving.requests[first:]
        assert [body["stream"] for body in requests] == [True, True]
        # All of one state, and the second time of the newest.
        assert {body["model"] for body in requests} == {"gpt-4o" if first == 0 else "gpt-2"}
        assert {body["temperature"] for body in requests} == {0.25}
        assert all(("pirate" if first == 0 else "judge 2") in prompt_of(body) for body in requests)
        assert values[-1].k == (111 if first == 0 else 2)
        assert sb.revision_of(values[-1]) is not None


def test_a_listener_may_name_its_predictor(lm: RecordingLM, session: BlockingContext) -> None:
    lm.reply(lambda body: {field: f"the {field} in many words" for field in asked_fields(body)})
    program = sb.bind(Pair(), BINDINGS, session=session)
    listener = StreamListener(signature_field_name="draft", predict=program.draft, predict_name="draft")
    values = streamed(program, stream_listeners=[listener])
    assert "".join(chunk.chunk for chunk in values[:-1]).strip() == "the draft in many words"
    # Only what is listened to is streamed.
    assert [body.get("stream", False) for body in lm.requests] == [True, False]


def test_without_a_listener_every_chunk_comes_through(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    values = streamed(program)
    assert isinstance(values[-1], dspy.Prediction)
    assert len(values) > 2
    assert lm.requests[0]["temperature"] == 0.25


class Provider(StatusMessageProvider):
    """Tells what a module is as of the call that it is told about."""

    def module_start_status_message(self, instance: Any, inputs: Any) -> str:
        temperature = instance.config.get("temperature") if isinstance(instance, dspy.Predict) else None
        return f"{type(instance).__name__} k={getattr(instance, 'k', None)} t={temperature}"

    def lm_start_status_message(self, instance: Any, inputs: Any) -> str:
        return f"LM {instance.model}"


@pytest.mark.parametrize("consume", [streamed, streamed_async, streamed_sync])
def test_status_messages_are_of_the_calls_own_snapshot(
    consume: Consume, moving: RecordingLM, session: BlockingContext
) -> None:
    program = sb.bind(Pair(), BINDINGS, session=session)
    values = consume(
        program,
        status_message_provider=Provider(),
        stream_listeners=[StreamListener(signature_field_name=name) for name in ("draft", "answer")],
    )
    assert [value.message for value in values if isinstance(value, StatusMessage)] == [
        "Pair k=111 t=None",
        "Predict k=None t=0.25",
        "LM openai/gpt-4o",
        "ChainOfThought k=None t=None",
        "Predict k=None t=0.25",
        "LM openai/gpt-4o",
    ]
