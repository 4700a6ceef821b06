"""An optimizer that is given a live program works, and is told what is better."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.capitals import TRAIN, Oracle, exact
from tests.dspy.support.programs import Capital
from tests.support.recording_lm import RecordingLM


@pytest.fixture
def oracle(lm: RecordingLM) -> Oracle:
    oracle = Oracle()
    lm.reply(oracle)
    return oracle


@pytest.fixture
def program(oracle: Oracle, session: BlockingContext) -> Any:
    """A live program."""
    return sb.bind(Capital(), {"temperature": "t"}, session=session)


OPTIMIZERS = {
    "BootstrapFewShot": lambda: dspy.BootstrapFewShot(metric=exact, max_bootstrapped_demos=3, max_labeled_demos=3),
    "RandomSearch": lambda: dspy.BootstrapFewShotWithRandomSearch(
        metric=exact, max_bootstrapped_demos=3, max_labeled_demos=3, num_candidate_programs=1, num_threads=1
    ),
    "COPRO": lambda: dspy.COPRO(metric=exact, breadth=2, depth=1),
}


def compiled(optimizer: Any, student: Any) -> Any:
    options = {"eval_kwargs": {"num_threads": 1}} if isinstance(optimizer, dspy.COPRO) else {}
    return optimizer.compile(student, trainset=TRAIN, **options)


def places(caught: pytest.WarningsRecorder) -> list[Path]:
    """The files in which it was warned of live programs."""
    return [Path(one.filename) for one in caught if issubclass(one.category, sb.LiveProgramWarning)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiling_a_live_program_warns_once_where_it_was_called(
    name: str, program: Any, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = OPTIMIZERS[name]()
    with pytest.warns(sb.LiveProgramWarning) as caught:
        compiled(optimizer, program)
    assert places(caught) == [Path(__file__)]
    with pytest.warns(sb.LiveProgramWarning) as again:
        compiled(optimizer, program)
    assert places(again) == [Path(__file__)]


def test_compiling_a_program_with_live_parts_warns(oracle: Oracle, session: BlockingContext) -> None:
    program = Capital()
    sb.bind(program.ask, {"temperature": "t"}, session=session)
    with pytest.warns(sb.LiveProgramWarning):
        compiled(OPTIMIZERS["COPRO"](), program)


def test_nothing_else_that_copies_warns(
    program: Any, oracle: Oracle, lm: RecordingLM, session: BlockingContext, recwarn: pytest.WarningsRecorder
) -> None:
    program.deepcopy()
    program.reset_copy()
    compiled(OPTIMIZERS["BootstrapFewShot"](), sb.freeze(program))
    # A live judge, which copies itself for each attempt, is not what is compiled.
    judge = dspy.BestOfN(module=program, N=2, reward_fn=lambda *_: 1.0, threshold=1.0)

    def judged(example: Any, prediction: Any, *_: Any) -> float:
        judge(country=example.country)
        return exact(example, prediction)

    plain = sb.freeze(program)
    compiled(dspy.BootstrapFewShot(metric=judged, max_bootstrapped_demos=1, max_labeled_demos=1), plain)

    class Freezing(dspy.teleprompt.Teleprompter):
        def compile(self, student: Any, **_: Any) -> Any:
            return sb.freeze(student)

    Freezing().compile(program)
    assert places(recwarn) == []


@pytest.mark.parametrize("bound", [lambda program: program, lambda program: program.ask], ids=["whole", "part"])
def test_a_warning_made_an_error_stops_the_optimizer(
    bound: Any, oracle: Oracle, lm: RecordingLM, session: BlockingContext
) -> None:
    program = Capital()
    sb.bind(bound(program), {"temperature": "t"}, session=session)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sb.LiveProgramWarning)
        with pytest.raises(sb.LiveProgramWarning):
            compiled(OPTIMIZERS["BootstrapFewShot"](), program)
    assert lm.requests == []
