"""Binding and assigning inside a call, or inside a snapshot, that goes on."""

from __future__ import annotations

import threading
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM


def test_what_is_bound_inside_a_call_is_bound_at_once(lm: RecordingLM, session: BlockingContext) -> None:
    class Binds(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = 0

        def forward(self) -> Any:
            inner = sb.bind(Pair(), {"draft.temperature": "t", "k": "later"}, session=session)
            return dspy.Prediction(outside=inner.k, inside=inner(question="why?").k, own=self.k)

    session.register_variable("later", "integer", 7)
    program = sb.bind(Binds(), {"k": "tokens"}, session=session)
    answer = program()
    assert (answer.outside, answer.inside, answer.own) == (7, 7, 111)
    assert lm.requests[0]["temperature"] == 0.25


def test_what_is_bound_inside_a_call_keeps_the_calls_own_state(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    session.register_variable("later", "float", 0.5)

    class Binds(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = 0

        def forward(self, inner: Any) -> Any:
            other.set_variables({"t": 0.5, "later": 0.75})
            sb.bind(inner, {"top_p": "t", "temperature": "later"}, session=session)
            return inner(question="why?")

    program = sb.bind(Binds(), {"k": "t"}, session=session)
    answer = program(inner=dspy.Predict("question -> answer"))
    assert (lm.requests[0]["top_p"], lm.requests[0]["temperature"]) == (0.25, 0.75)
    assert sb.revision_of(answer) is not None
    assert sb.revision_of(answer) < other.revision  # type: ignore[operator]


def test_one_snapshot_holds_also_for_a_program_bound_inside_it(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    session.register_variable("later", "float", 0.25)
    one = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    with sb.snapshot(session):
        other.set_variables({"t": 0.5, "later": 0.5})
        two = sb.bind(Pair(), {"temperature": "t", "top_p": "later"}, session=session, refresh="step")
        two(question="why?")
        other.set_variables({"t": 0.75, "later": 0.75})
        one(question="why?")
        sb.bind(one, {"temperature": "t", "top_p": "later"}, session=session)
        one(question="why?")
    assert [(body["temperature"], body.get("top_p")) for body in lm.requests] == [
        (0.25, 0.5),
        (0.25, 0.5),
        (0.25, None),
        (0.25, 0.75),
    ]


def test_an_assignment_inside_a_call_holds_there_also_after_the_program_was_rebound(
    lm: RecordingLM, session: BlockingContext
) -> None:
    class Assigns(Pair):
        def forward(self, question: str) -> Any:
            rebind = threading.Thread(target=lambda: sb.bind(self, {"k": "other_k"}, session=session))
            rebind.start()
            rebind.join()
            before, self.k = self.k, 5
            self.draft.config = {"temperature": 1.5}
            return dspy.Prediction(before=before, k=self.k, draft=self.draft(question=question))

    session.register_variable("other_k", "integer", 6)
    program = sb.bind(Assigns(), {"k": "tokens", "temperature": "t"}, session=session)
    answer = program(question="why?")
    assert (answer.before, answer.k, program.k) == (111, 5, 5)
    assert lm.requests[0]["temperature"] == 1.5
