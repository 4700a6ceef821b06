"""BestOfN and Refine ask several times and keep the best: on a bound module the attempts differ too."""

from __future__ import annotations

import itertools
from typing import Any

import dspy
import pytest
from dspy.clients.cache import Cache

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.support.recording_lm import RecordingLM


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own: requests that are the same are sent once."""
    monkeypatch.setattr(
        dspy, "cache", Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=None), raising=False
    )


def third(_arguments: dict[str, Any], prediction: Any) -> float:
    """Only the third answer is good enough."""
    return float(prediction.answer == "answer 3")


def asks_for_advice(body: dict[str, Any]) -> bool:
    """Whether it is Refine that asks, about the attempt before."""
    return "`[[ ## advice ## ]]`" in str(body["messages"][-1])


@pytest.fixture(params=["BestOfN", "Refine"])
def wrap(request: pytest.FixtureRequest, lm: RecordingLM) -> Any:
    """Puts a module into four attempts, of which the third succeeds."""
    numbers = itertools.count(1)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if asks_for_advice(body):
            return {"discussion": "none", "advice": {"self": "try harder"}}
        return {"answer": f"answer {next(numbers)}"}

    lm.reply(answer)
    return lambda module: getattr(dspy, request.param)(module, N=4, reward_fn=third, threshold=1.0)


def attempts(wrapper: Any, lm: RecordingLM) -> list[dict[str, Any]]:
    """The requests that a call sends for an answer."""
    wrapper(question="why?")
    return [body for body in lm.requests if not asks_for_advice(body)]


def test_with_a_table_of_models_each_attempt_is_a_request_of_its_own(
    wrap: Any, cached: None, lm: RecordingLM, session: BlockingContext
) -> None:
    session.set_variable("model", "fast")
    table = {"fast": lm.lm("openai/small", api_key="fast-key", cache=True)}
    program = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session, models=table)
    sent = attempts(wrap(program), lm)
    assert [(body["model"], body["temperature"]) for body in sent] == [("small", 1.0)] * 3
    assert {headers["authorization"] for headers in lm.headers[:1]} == {"Bearer fast-key"}


def test_with_a_model_of_the_same_provider_each_attempt_is_a_request_of_its_own(
    wrap: Any, cached: None, lm: RecordingLM, session: BlockingContext
) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session)
    program.set_lm(lm.lm(cache=True))
    sent = attempts(wrap(program), lm)
    assert [(body["model"], body["temperature"]) for body in sent] == [("gpt-4o", 1.0)] * 3


def test_bound_instructions_and_demos_reach_every_attempt(wrap: Any, lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("demos", "list", [{"question": "2+2?", "answer": "four"}])
    wrapper = wrap(dspy.Predict("question -> answer"))
    sb.bind(wrapper, {"module.instructions": "prompt", "module.demos": "demos"}, session=session)
    sent = attempts(wrapper, lm)
    assert len(sent) == 3
    assert all("pirate" in str(body["messages"]) and "four" in str(body["messages"]) for body in sent)


@pytest.mark.parametrize("inside", [False, True], ids=["module bound", "wrapper bound"])
def test_every_attempt_goes_to_the_address_and_with_the_key_of_the_table(
    inside: bool, wrap: Any, lm: RecordingLM, session: BlockingContext
) -> None:
    session.set_variable("model", "fast")
    table = {"fast": lm.lm("openai/small", api_key="fast-key", top_p=0.5)}
    module = dspy.Predict("question -> answer")
    module.set_lm(dspy.LM("openai/elsewhere", api_key="other-key", api_base="http://127.0.0.1:9/v1", cache=False))
    if inside:
        wrapper = sb.bind(wrap(module), {"module.model": "model"}, session=session, models=table)
    else:
        wrapper = wrap(sb.bind(module, {"model": "model"}, session=session, models=table))
    with dspy.context(lm=lm.lm()):
        sent = attempts(wrapper, lm)
    assert [(body["model"], body["temperature"], body["top_p"]) for body in sent] == [("small", 1.0, 0.5)] * 3
    keys = {headers["authorization"] for body, headers in zip(lm.requests, lm.headers, strict=True) if body in sent}
    assert keys == {"Bearer fast-key"}


def test_an_lm_with_a_rollout_id_that_everybody_uses_is_no_attempt(lm: RecordingLM, session: BlockingContext) -> None:
    session.set_variable("model", "fast")
    table = {"fast": lm.lm("openai/small", temperature=0.75)}
    program = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session, models=table)
    with dspy.context(lm=lm.lm(rollout_id=7, temperature=0.125)):
        program(question="why?")
    assert lm.requests[0]["temperature"] == 0.75
