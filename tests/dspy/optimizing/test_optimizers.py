"""Optimizers on frozen programs: what they try is what is sent, and what they find reaches live programs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.capitals import PLAIN, TOLD, TRAIN, Oracle, country_in, demos_in, exact, instructions_in, score
from tests.dspy.support.programs import Capital
from tests.support.recording_lm import RecordingLM, asked_fields
from tests.support.waiting import PATIENCE

BINDINGS = {"ask.instructions": "prompt", "ask.demos": "demos", "ask.temperature": "t"}


@pytest.fixture
def oracle(lm: RecordingLM) -> Oracle:
    oracle = Oracle()
    lm.reply(oracle)
    return oracle


@pytest.fixture
def session(blocking: BlockingContext) -> BlockingContext:
    blocking.register_variable("prompt", "string", PLAIN)
    blocking.register_variable("demos", "list", [])
    blocking.register_variable("t", "float", 0.25)
    return blocking


@pytest.fixture
def program(oracle: Oracle, session: BlockingContext) -> Any:
    """A live program that scores nothing."""
    program = sb.bind(Capital(), BINDINGS, session=session)
    assert score(program) == 0
    return program


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    """Another process, which can bind and call the program."""
    command = [sys.executable, "-m", "tests.dspy.support.live_process"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()
        assert running.wait(PATIENCE) == 0


class Elsewhere:
    """A live program in another process, bound to the same variables."""

    def __init__(self, process: subprocess.Popen[str], address: str, session_id: str, lm: RecordingLM) -> None:
        self._process = process
        assert self._send({"bind": [address, session_id, lm.url], "bindings": BINDINGS}) == BINDINGS

    def ask(self, country: str) -> dict[str, Any]:
        """Calls it."""
        answer: dict[str, Any] = self._send({"ask": country})
        return answer

    def _send(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def elsewhere(
    process: subprocess.Popen[str], address: str, program: Any, lm: RecordingLM, session_id: str
) -> Elsewhere:
    elsewhere = Elsewhere(process, address, session_id, lm)
    assert elsewhere.ask("Peru")["capital"] == "The capital is Lima."
    return elsewhere


def sent_while(lm: RecordingLM, compile_: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What an optimizer returns, and what was asked about countries meanwhile."""
    start = len(lm.requests)
    optimized = compile_()
    return optimized, [body for body in lm.requests[start:] if "capital" in asked_fields(body)]


def assert_published(program: Any, optimized: Any, written: set[str], lm: RecordingLM, elsewhere: Elsewhere) -> None:
    """The optimized program is better, and after publishing so are the live one and the one in another process."""
    assert score(optimized) == 100
    expected = lm.requests[-1]
    published = sb.publish(program, optimized)
    assert set(published.written) == written
    assert score(program) == 100
    assert lm.requests[-1] == expected
    assert country_in(expected) == "Peru"
    assert elsewhere.ask("Peru") == {"capital": "Lima", "revision": published.revision}
    assert lm.requests[-1] == expected


def test_bootstrap_few_shot_keeps_its_demos(
    program: Any, lm: RecordingLM, session: BlockingContext, elsewhere: Elsewhere
) -> None:
    optimizer = dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=3, max_labeled_demos=3)
    optimized, sent = sent_while(lm, lambda: optimizer.compile(sb.freeze(program), trainset=TRAIN))
    assert [dict(demo.items()).get("augmented") for demo in optimized.ask.demos] == [True] * 3
    assert {body["temperature"] for body in sent} == {0.25}
    assert_published(program, optimized, {"ask.demos"}, lm, elsewhere)
    assert len(demos_in(lm.requests[-1])) == 3
    assert session.get_variable("demos") == [dict(demo.items()) for demo in optimized.ask.demos]


def test_random_search_measures_each_set_of_demos(program: Any, lm: RecordingLM, elsewhere: Elsewhere) -> None:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=exact, max_bootstrapped_demos=2, max_labeled_demos=2, num_candidate_programs=2, num_threads=2
    )
    optimized, sent = sent_while(lm, lambda: optimizer.compile(sb.freeze(program), trainset=TRAIN))
    assert len({tuple(demos_in(body)) for body in sent}) > 3
    assert [found["score"] for found in optimized.candidate_programs][-1] == 0
    assert_published(program, optimized, {"ask.demos"}, lm, elsewhere)


def test_copro_measures_each_instruction(program: Any, lm: RecordingLM, elsewhere: Elsewhere) -> None:
    optimizer = dspy.COPRO(metric=exact, breadth=2, depth=2)
    optimized, sent = sent_while(
        lm, lambda: optimizer.compile(sb.freeze(program), trainset=TRAIN, eval_kwargs={"num_threads": 2})
    )
    tried = [{text in instructions_in(body) for body in sent} for text in (PLAIN, "Answer like a poet.", TOLD)]
    assert tried == [{True, False}] * 3
    assert_published(program, optimized, {"ask.instructions"}, lm, elsewhere)
    assert TOLD in optimized.ask.signature.instructions


def test_mipro_measures_instructions_and_demos(
    program: Any, lm: RecordingLM, elsewhere: Elsewhere, oracle: Oracle
) -> None:
    pytest.importorskip("optuna")
    # The instructions that there are take the place of the first proposal.
    oracle.useless = 2
    optimizer = dspy.MIPROv2(metric=exact, auto=None, num_candidates=3, num_threads=2, max_errors=1)
    optimized, sent = sent_while(
        lm,
        lambda: optimizer.compile(
            sb.freeze(program),
            trainset=TRAIN,
            valset=TRAIN,
            num_trials=6,
            max_bootstrapped_demos=0,
            max_labeled_demos=0,
            minibatch=False,
            program_aware_proposer=False,
            data_aware_proposer=False,
            fewshot_aware_proposer=False,
        ),
    )
    measured = {instructions_in(body).rpartition("objective is: ")[2].strip() for body in sent}
    assert {PLAIN, "Answer like a poet."} <= measured
    assert any(TOLD in text for text in measured)
    assert_published(program, optimized, {"ask.instructions"}, lm, elsewhere)


def test_simba_measures_its_rules(program: Any, lm: RecordingLM, elsewhere: Elsewhere, oracle: Oracle) -> None:
    oracle.lucky = 1
    optimizer = dspy.SIMBA(metric=exact, bsize=5, num_candidates=2, max_steps=1, max_demos=0, num_threads=2)
    optimized, sent = sent_while(lm, lambda: optimizer.compile(sb.freeze(program), trainset=TRAIN))
    assert {body["temperature"] for body in sent} == {0.25}
    assert {TOLD in instructions_in(body) for body in sent} == {True, False}
    assert_published(program, optimized, {"ask.instructions"}, lm, elsewhere)


def told_more(example: Any, prediction: Any, trace: Any = None, name: Any = None, part: Any = None) -> Any:
    """The metric with the words that GEPA wants besides."""
    return dspy.Prediction(score=exact(example, prediction), feedback="Too many words.")


def test_gepa_measures_what_it_proposes(program: Any, lm: RecordingLM, elsewhere: Elsewhere) -> None:
    pytest.importorskip("gepa")
    optimizer = dspy.GEPA(
        metric=told_more, max_metric_calls=40, reflection_minibatch_size=2, reflection_lm=lm.lm(), num_threads=2
    )
    optimized, sent = sent_while(lm, lambda: optimizer.compile(sb.freeze(program), trainset=TRAIN, valset=TRAIN[:2]))
    tried = [{text in instructions_in(body) for body in sent} for text in (PLAIN, "Answer like a poet.", TOLD)]
    assert tried == [{True, False}] * 3
    assert_published(program, optimized, {"ask.instructions"}, lm, elsewhere)


def test_better_together_measures_each_step(program: Any, lm: RecordingLM, elsewhere: Elsewhere) -> None:
    if "optimizers" not in inspect.signature(dspy.BetterTogether).parameters:
        pytest.skip("this DSPy's fixed pair of optimizers needs a provider that trains")
    optimizer = dspy.BetterTogether(
        metric=exact,
        i=dspy.COPRO(metric=exact, breadth=2, depth=2),
        d=dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=2, max_labeled_demos=2),
    )
    plain = sb.freeze(program)
    plain.set_lm(dspy.settings.lm)
    optimized, _ = sent_while(
        lm,
        lambda: optimizer.compile(
            plain,
            trainset=TRAIN,
            valset=TRAIN[:2],
            strategy="i -> d",
            shuffle_trainset_between_steps=False,
            optimizer_compile_args={"i": {"eval_kwargs": {"num_threads": 2}}},
        ),
    )
    assert optimized.flag_compilation_error_occurred is False
    assert [found["strategy"] for found in optimized.candidate_programs][-1] == ""
    assert_published(program, optimized, {"ask.instructions"}, lm, elsewhere)


def test_a_program_that_improves_one_predictor_of_two_publishes_that(
    oracle: Oracle, lm: RecordingLM, session: BlockingContext
) -> None:
    class Twice(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Capital()
            self.second = dspy.Predict("capital -> country")

        def forward(self, country: str) -> Any:
            found = self.first(country=country)
            self.second(capital=found.capital)
            return found

    bindings = {"first.ask.demos": "demos", "temperature": "t"}
    program = sb.bind(Twice(), bindings, session=session)
    optimizer = dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=2, max_labeled_demos=2)
    optimized = optimizer.compile(sb.freeze(program), trainset=TRAIN)
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["unbound"] == "second.demos"
    session.register_variable("more", "list", [])
    sb.bind(program, {"second.demos": "more"}, session=session)
    assert set(sb.publish(program, optimized).written) == {"first.ask.demos", "second.demos"}
    program(country="Peru")
    assert [len(demos_in(body)) for body in lm.requests[-2:]] == [2, 2]


def test_an_optimizer_that_resets_programs_measures_with_the_bound_model_inside_a_context(
    oracle: Oracle, lm: RecordingLM, session: BlockingContext
) -> None:
    session.register_variable("model", "string", "gpt-4o")
    program = sb.bind(Capital(), {**BINDINGS, "model": "model"}, session=session)
    plain = sb.freeze(program)
    optimizer = dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=3, max_labeled_demos=3)
    with dspy.context(lm=plain.get_lm()):
        optimized, sent = sent_while(lm, lambda: optimizer.compile(plain, trainset=TRAIN))
    assert {body["model"] for body in sent} == {"gpt-4o"}
    assert set(sb.publish(program, optimized).written) == {"ask.demos"}
    assert session.get_variable("model") == "gpt-4o"


def test_a_live_program_keeps_the_demos_that_are_compiled_into_it(
    program: Any, lm: RecordingLM, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=3, max_labeled_demos=3)
    with pytest.warns(sb.LiveProgramWarning):
        optimized = optimizer.compile(program, trainset=TRAIN)
    assert [dict(demo.items()).get("augmented") for demo in optimized.ask.demos] == [True] * 3
    assert_published(program, optimized, {"ask.demos"}, lm, elsewhere)
