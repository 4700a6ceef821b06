"""Reading and assigning what is bound."""

from __future__ import annotations

import logging
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM


def warnings_in(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.name.startswith("snakepit_bridge") for record in caplog.records)


def test_reads_outside_a_call_are_the_newest_seen_and_dspys_own_are_plain(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(
        Pair(), {"polish.temperature": "t", "k": "tokens", "draft.instructions": "prompt"}, session=session
    )
    assert (program.polish.temperature, program.k) == (0.25, 111)
    plain = "Given the fields `question`, produce the fields `draft`."
    assert (program.polish.predict.config, program.draft.signature.instructions) == ({}, plain)
    other.set_variables({"t": 0.5, "tokens": 5})
    assert (program.polish.temperature, program.k) == (0.25, 111)
    program(question="why?")
    assert (program.polish.temperature, program.k) == (0.5, 5)


def test_assigning_a_bound_generation_name_writes_it_everywhere_and_detaches_it(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "max_tokens": "tokens"}, session=session)
    program.temperature = 1.25
    assert warnings_in(caplog) == 1
    program(question="why?")
    assert [(body["temperature"], body["max_completion_tokens"]) for body in lm.requests] == [(1.25, 111)] * 2
    assert program.draft.config == {"temperature": 1.25}
    found = sb.effective(program)
    assert (found["temperature"].detached, found["max_tokens"].detached) == (True, False)


def test_assigning_a_bound_attribute_detaches_it(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    program = sb.bind(Pair(), {"k": "tokens"}, session=session)
    program.k = 4
    assert program(question="why?").k == program.k == 4
    assert warnings_in(caplog) == 1
    sb.bind(program, {"k": "tokens"}, session=session)
    assert program(question="why?").k == 111


def test_assigning_config_detaches_only_what_differs(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    program = dspy.Predict("question -> answer", temperature=0.9)
    sb.bind(program, {"temperature": "t", "max_tokens": "tokens"}, session=session)
    program.config = {**program.config, "top_p": 0.5}
    program(question="why?")
    assert warnings_in(caplog) == 0
    program.config = {**program.config, "temperature": 0.1}
    program(question="why?")
    assert warnings_in(caplog) == 1
    assert [(body["temperature"], body["max_completion_tokens"], body["top_p"]) for body in lm.requests] == [
        (0.25, 111, 0.5),
        (0.1, 111, 0.5),
    ]


def test_an_optimizers_assignments_take_effect(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("demos", "list", [{"question": "2+2?", "answer": "four"}])
    program = sb.bind(dspy.Predict("question -> answer"), {"instructions": "prompt", "demos": "demos"}, session=session)
    program.signature = program.signature.with_instructions("Answer like a poet.")
    program.demos = [dspy.Example(question="3+3?", answer="six")]
    program(question="why?")
    text = str(lm.requests[0]["messages"])
    assert "poet" in text
    assert "six" in text
    assert "pirate" not in text
    assert "four" not in text


def test_update_config_reset_and_set_lm_never_detach(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    session.register_variable("demos", "list", [{"question": "2+2?", "answer": "four"}])
    program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t", "demos": "demos"}, session=session)
    program.update_config(temperature=0.9, top_p=0.5)
    program.reset()
    program.set_lm(lm.lm())
    program.load_state(program.dump_state())
    program.set_lm(lm.lm())
    program(question="why?")
    assert warnings_in(caplog) == 0
    assert (lm.requests[0]["temperature"], lm.requests[0]["top_p"]) == (0.25, 0.5)
    assert "four" in str(lm.requests[0]["messages"])


def test_effective_tells_values_versions_and_what_is_not_reached(lm: RecordingLM, session: BlockingContext) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "k": sb.Var("none", default=7)}, session=session)
    session.set_variable("t", 0.5)
    program(question="why?")
    program.later = dspy.Predict("question -> answer")
    assert sb.effective(program) == {
        "temperature": sb.Effective("t", 0.5, 2, detached=False, uncovered=("later",)),
        "k": sb.Effective("none", 7, None, detached=False),
    }


def test_unbind_gives_the_plain_program_back(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    sb.unbind(program, "k")
    assert program.k == 3
    sb.unbind(program)
    program(question="why?")
    assert "temperature" not in lm.requests[0]
    assert sb.bindings(program) == {}
    assert sb.effective(program) == {}
    assert type(program) is Pair
    with pytest.raises(AttributeError):
        _ = program.temperature


def test_a_rebound_path_follows_the_new_variable(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    session.register_variable("u", "float", 1.75)
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    sb.bind(program, {"temperature": "u"}, session=session)
    with caplog.at_level(logging.WARNING):
        program(question="why?")
    assert {body["temperature"] for body in lm.requests} == {1.75}
    assert sb.bindings(program) == {"temperature": "u"}
