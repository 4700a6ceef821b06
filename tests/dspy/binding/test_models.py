"""A bound model changes within its provider or within a table, so that no key goes elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import pytest
from dspy.dsp.utils.settings import main_thread_config

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import Pair, agent
from tests.support.recording_lm import RecordingLM

ELSEWHERE = ["anthropic/claude-3", "OpenAI/gpt-4o", "azure/gpt-4o", "openai/", "openai/../x", "/gpt-4o", "gpt 4o",
             "openai//x", "http://evil/x", "openai/gpt\n", "..", "openrouter/openai/gpt-4o"]  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_model_of_another_provider_is_refused_at_bind(name: str, lm: RecordingLM, session: BlockingContext) -> None:
    session.set_variable("model", name)
    with pytest.raises(sb.ModelNotAllowedError):
        sb.bind(Pair(), {"model": "model"}, session=session)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_model_of_another_provider_sends_nothing(name: str, lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"model": "model"}, session=session)
    session.set_variable("model", name)
    with pytest.raises(sb.ModelNotAllowedError):
        program(question="why?")
    with pytest.raises(sb.ModelNotAllowedError):
        asyncio.run(program.acall(question="why?"))
    assert lm.requests == []


def test_an_agent_does_not_swallow_a_refused_model(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(agent(), {"react.model": "model"}, session=session)
    session.set_variable("model", "anthropic/claude-3")
    with pytest.raises(sb.ModelNotAllowedError):
        program(question="how many?")
    assert lm.requests == []


def test_an_lm_that_does_not_say_its_provider_keeps_its_model(lm: RecordingLM, session: BlockingContext) -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(lm.lm("gpt-4o-mini"))
    with pytest.raises(sb.ModelNotAllowedError):
        sb.bind(program, {"model": "model"}, session=session)
    session.set_variable("model", "gpt-4o-mini")
    sb.bind(program, {"model": "model"}, session=session)(question="why?")
    assert lm.requests[0]["model"] == "gpt-4o-mini"


def test_an_lm_unknown_at_bind_is_checked_before_the_request(
    lm: RecordingLM, session: BlockingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(main_thread_config, "lm", None)
    session.set_variable("model", "anthropic/claude-3")
    program = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session)
    with dspy.context(lm=lm.lm()), pytest.raises(sb.ModelNotAllowedError):
        program(question="why?")
    assert lm.requests == []


def test_the_model_composes_with_whatever_lm_is_in_use(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session)
    program.set_lm(lm.lm(api_key="second", max_tokens=12))
    program(question="why?")
    program.set_lm(None)
    with dspy.context(lm=lm.lm(api_key="third")):
        program(question="why?")
    assert [body["model"] for body in lm.requests] == ["gpt-4o", "gpt-4o"]
    assert lm.requests[0]["max_completion_tokens"] == 12
    assert [headers["authorization"] for headers in lm.headers] == ["Bearer second", "Bearer third"]


def test_a_table_of_models_is_exhaustive_and_each_has_its_own_key(lm: RecordingLM, session: BlockingContext) -> None:
    session.set_variable("model", "fast")
    table = {"fast": lm.lm("openai/small", api_key="fast-key"), "good": lm.lm("openai/large", api_key="good-key")}
    program = sb.bind(Pair(), {"model": "model"}, session=session, models=table)
    program(question="why?")
    session.set_variable("model", "good")
    program(question="why?")
    assert [
        (body["model"], headers["authorization"]) for body, headers in zip(lm.requests, lm.headers, strict=True)
    ] == [
        *[("small", "Bearer fast-key")] * 2,
        *[("large", "Bearer good-key")] * 2,
    ]
    session.set_variable("model", "openai/small")
    with pytest.raises(sb.ModelNotAllowedError):
        program(question="why?")
    assert len(lm.requests) == 4


def test_the_history_of_the_base_shows_the_requests_of_its_other_models(
    lm: RecordingLM, session: BlockingContext
) -> None:
    base: Any = dspy.settings.lm
    sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session)(question="why?")
    assert [entry["model"] for entry in base.history] == ["openai/gpt-4o"]
    assert base.model == "openai/gpt-4o-mini"
