"""Publishing writes what an optimizer found into the variables, whole or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import (
    ConstraintError,
    SessionExpiredError,
    VariableNotFoundError,
    VariableReadOnlyError,
    VersionConflictError,
)
from tests.dspy.support.optimized import BINDINGS, DEMO, FOUND, improve, instruct, values
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")


@pytest.fixture
def session(session: BlockingContext) -> BlockingContext:
    """The session with demos."""
    session.register_variable("demos", "list", [DEMO])
    return session


@pytest.fixture
def program(lm: RecordingLM, session: BlockingContext) -> Any:
    """A live program."""
    return sb.bind(Pair(), BINDINGS, session=session)


def test_a_live_program_uses_the_published_result_at_its_next_call(
    program: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    lm.reply({"draft": "d", "reasoning": "r", "answer": "a"})
    optimized = improve(sb.freeze(program))
    published = sb.publish(program, optimized, reason="poetry")
    assert values(other) == {
        "t": 0.75, "prompt": "Answer like a poet.", "demos": [FOUND], "model": "gpt-4.1", "tokens": 7
    }  # fmt: skip
    prediction = program(question="why?")
    optimized(question="why?")
    assert lm.requests[:2] == lm.requests[2:]
    assert prediction.k == 7
    assert sb.revision_of(prediction) == published.revision
    assert other.history("prompt")[0].reason == "poetry"


def test_the_report_says_what_was_written_and_what_was_left(program: Any, session: BlockingContext) -> None:
    optimized = sb.freeze(program)
    instruct(optimized.draft, "Answer like a poet.")
    before = session.revision
    published = sb.publish(program, optimized)
    assert published == sb.Published(
        written={"draft.instructions": "prompt"},
        unchanged={"temperature": "t", "draft.demos": "demos", "polish.model": "model", "k": "tokens"},
        unbound=(),
        revision=before + 1,
    )
    assert "prompt" in str(published)
    again = sb.publish(program, sb.freeze(program))
    assert (again.written, again.revision) == ({}, published.revision)


async def test_publishing_can_be_awaited(lm: RecordingLM, session: BlockingContext, ctx: SessionContext) -> None:
    program = await sb.bind_async(Pair(), BINDINGS, session=ctx)
    await sb.publish_async(program, improve(await sb.freeze_async(program)))
    assert values(session)["prompt"] == "Answer like a poet."


def test_publishing_costs_two_rpcs(
    proxy: WireProxy, session_id: str, lm: RecordingLM, session: BlockingContext
) -> None:
    with SessionContext.connect(proxy.address, session_id=session_id) as ctx:
        program = sb.bind(Pair(), BINDINGS, session=ctx)
        optimized = improve(sb.freeze(program))
        start = proxy.count()
        sb.publish(program, optimized)
        assert proxy.rpcs()[start:] == ["GetVariables", "WriteVariables"]


def test_what_was_frozen_and_published_is_the_same_however_it_is_written(
    lm: RecordingLM, session: BlockingContext
) -> None:
    # DSPy takes the indentation out of instructions, temperature becomes a float, and the demo has no order of keys.
    session.set_variable("prompt", "  Answer\n    like a pirate.\n")
    session.register_variable("whole", "integer", 1)
    bound = {"draft.instructions": "prompt", "temperature": "whole", "draft.demos": "demos", "draft.model": "model"}
    program = sb.bind(Pair(), bound, session=session)
    assert sb.publish(program, sb.freeze(program)).written == {}
    optimized = sb.freeze(program)
    for predictor in optimized.predictors():
        predictor.config = {"temperature": 2.0}
    assert sb.publish(program, optimized).written == {"temperature": "whole"}
    assert session.get_variable("whole") == 2
    assert type(session.get_variable("whole")) is int


@pytest.mark.parametrize(
    ("breaks", "error"),
    [
        (lambda session: session.register_variable("t", "float", 0.25, constraints={"max": 0.5}, replace=True),
         ConstraintError),
        (lambda session: session.register_variable("t", "float", 0.25, read_only=True, replace=True),
         VariableReadOnlyError),
    ],
    ids=["constraint", "read only"],
)  # fmt: skip
def test_what_a_variable_refuses_is_not_half_written(
    breaks: Callable[[BlockingContext], object], error: type[Exception], lm: RecordingLM, session: BlockingContext
) -> None:
    breaks(session)
    program = sb.bind(Pair(), BINDINGS, session=session)
    before = values(session)
    with pytest.raises(error):
        sb.publish(program, improve(sb.freeze(program)))
    assert values(session) == before


def test_what_a_path_does_not_take_is_not_written(program: Any, session: BlockingContext) -> None:
    optimized = improve(sb.freeze(program))
    for predictor in optimized.predictors():
        predictor.config = {"temperature": 30.0}
    before = values(session)
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["variable"] == "t"
    assert values(session) == before


def travelled(optimized: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(optimized))


@pytest.mark.parametrize(
    "copied", [lambda one: one, lambda one: one.deepcopy(), lambda one: one.reset_copy(), travelled]
)
def test_a_variable_that_somebody_else_changed_meanwhile_is_a_conflict(
    copied: Callable[[Any], Any], program: Any, session: BlockingContext, other: BlockingContext
) -> None:
    optimized = copied(sb.freeze(program))
    instruct(optimized.draft, "Answer like a poet.")
    other.set_variable("prompt", "Answer like a priest.")
    other.set_variable("prompt", "Answer like a prince.")
    optimized.k = 7
    with pytest.raises(VersionConflictError) as caught:
        sb.publish(program, optimized)
    assert (caught.value.variable, caught.value.expected, caught.value.actual) == ("prompt", 1, 3)
    assert values(other)["prompt"] == "Answer like a prince."
    assert values(other)["tokens"] == 111


def test_publishing_the_same_again_does_nothing(program: Any, session: BlockingContext) -> None:
    optimized = improve(sb.freeze(program))
    first = sb.publish(program, optimized)
    again = sb.publish(program, optimized)
    assert (len(first.written), again.written, again.revision) == (len(BINDINGS), {}, first.revision)


def test_what_somebody_else_changed_and_the_optimizer_did_not_stays(
    program: Any, session: BlockingContext, other: BlockingContext
) -> None:
    optimized = sb.freeze(program)
    instruct(optimized.draft, "Answer like a poet.")
    other.set_variables({"t": 0.5, "tokens": 5, "demos": []})
    published = sb.publish(program, optimized)
    assert published.written == {"draft.instructions": "prompt"}
    found = values(other)
    assert (found["t"], found["tokens"], found["demos"]) == (0.5, 5, [])


def test_a_version_that_the_history_no_longer_has_is_a_conflict(
    program: Any, session: BlockingContext, other: BlockingContext
) -> None:
    optimized = sb.freeze(program)
    for number in range(120):
        other.set_variable("tokens", number)
    with pytest.raises(VersionConflictError):
        sb.publish(program, optimized)


def test_a_variable_deleted_meanwhile_is_an_error(
    program: Any, session: BlockingContext, other: BlockingContext
) -> None:
    optimized = improve(sb.freeze(program))
    other.delete_variable("prompt")
    with pytest.raises((VersionConflictError, VariableNotFoundError)):
        sb.publish(program, optimized)
    assert session.get_variable("t") == 0.25


def test_a_default_in_use_is_no_variable_to_write(lm: RecordingLM, session: BlockingContext, address: str) -> None:
    bound = {"draft.instructions": sb.Var("none", default="Answer."), "temperature": sb.Var("neither", default=0.5)}
    program = sb.bind(Pair(), bound, session=session)
    optimized = sb.freeze(program)
    assert sb.publish(program, optimized).written == {}
    instruct(optimized.draft, "Answer like a poet.")
    with pytest.raises(VariableNotFoundError):
        sb.publish(program, optimized)
    with SessionContext.connect(address, session_id=session.session_id, strict=False) as lenient:
        program = sb.bind(Pair(), bound, session=lenient)
        assert sb.publish(program, optimized).written == {"draft.instructions": "none"}
        assert session.get_variables(["none", "neither"], allow_missing=True) == {"none": "Answer like a poet."}
        instruct(optimized.draft, "Answer like a priest.")
        with pytest.raises(VersionConflictError):
            sb.publish(program, optimized)


def test_a_result_from_a_file_replaces_what_there_is_now(
    program: Any, session: BlockingContext, other: BlockingContext, tmp_path: Path
) -> None:
    optimized = sb.freeze(program)
    instruct(optimized.draft, "Answer like a poet.")
    optimized.save(tmp_path / "state.json")
    other.set_variable("prompt", "Answer like a priest.")
    loaded = sb.freeze(program).deepcopy()
    loaded.load(tmp_path / "state.json")
    assert sb.publish(program, loaded).written == {"draft.instructions": "prompt"}
    assert other.get_variable("prompt") == "Answer like a poet."


def test_a_result_can_be_published_to_another_session(
    program: Any, session: BlockingContext, address: str, lm: RecordingLM
) -> None:
    optimized = sb.freeze(program)
    instruct(optimized.draft, "Answer like a poet.")
    with SessionContext.connect(address, session_id=f"{session.session_id}-production") as production:
        production.register_variable("prompt", "string", "Answer like a pirate.")
        production.set_variable("prompt", "Answer like a prince.")
        there = sb.bind(Pair(), {"draft.instructions": "prompt"}, session=production)
        with pytest.raises(sb.BindingError):
            # Nothing there carries the temperature that the program was frozen with.
            sb.publish(there, optimized)
        sb.publish(there, optimized, partial=True)
        assert production.get_variable("prompt") == "Answer like a poet."
    assert session.get_variable("prompt") == "Answer like a pirate."


def test_a_result_from_an_earlier_life_of_the_session_is_refused(start_server: Any, lm: RecordingLM) -> None:
    def live(address: str) -> tuple[Any, Any]:
        ctx = SessionContext.connect(address, session_id="reborn").blocking
        ctx.register_variable("prompt", "string", "Answer like a pirate.")
        return ctx, sb.bind(Pair(), {"draft.instructions": "prompt"}, session=ctx)

    server = start_server()
    ctx, program = live(server.address)
    optimized = sb.freeze(program)
    instruct(optimized.draft, "Answer like a poet.")
    ctx.close()
    server.close()
    ctx, program = live(start_server().address)
    with pytest.raises(SessionExpiredError):
        sb.publish(program, optimized)
    again = sb.freeze(program)
    again.load_state(optimized.dump_state())
    assert sb.publish(program, again).written == {"draft.instructions": "prompt"}
    ctx.close()


def test_a_live_program_that_was_compiled_is_published_too(
    program: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = program.deepcopy()
    instruct(compiled.draft, "Answer like a poet.")
    other.set_variable("t", 0.5)
    published = sb.publish(program, compiled)
    assert published.written == {"draft.instructions": "prompt"}
    assert (other.get_variable("prompt"), other.get_variable("t")) == ("Answer like a poet.", 0.5)


def test_what_was_assigned_on_the_live_program_is_not_written(
    program: Any, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    program.k = 4
    optimized = sb.freeze(program)
    assert "k" not in sb.publish(program, optimized).unchanged
    optimized.k = 7
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["unbound"] == "k"


def test_parts_that_are_bound_themselves_are_reported_by_their_whole_path(
    lm: RecordingLM, session: BlockingContext
) -> None:
    session.register_variable("t2", "float", 0.5)
    program = Pair()
    sb.bind(program.draft, {"temperature": "t"}, session=session)
    sb.bind(program.polish, {"temperature": "t2"}, session=session)
    optimized = sb.freeze(program)
    optimized.polish.predict.config = {"temperature": 0.75}
    published = sb.publish(program, optimized)
    assert published.written == {"polish.temperature": "t2"}
    assert published.unchanged == {"draft.temperature": "t"}


def test_variables_of_two_sessions_are_not_written_one_after_the_other(
    lm: RecordingLM, session: BlockingContext, address: str
) -> None:
    with SessionContext.connect(address, session_id=f"{session.session_id}-2") as second:
        second.register_variable("t2", "float", 0.5)
        program = Pair()
        sb.bind(program, {"draft.instructions": "prompt"}, session=session)
        sb.bind(program.polish, {"temperature": "t2"}, session=second)
        optimized = sb.freeze(program)
        instruct(optimized.draft, "Answer like a poet.")
        assert sb.publish(program, optimized).written == {"draft.instructions": "prompt"}
        instruct(optimized.draft, "Answer like a priest.")
        optimized = sb.freeze(program)
        instruct(optimized.draft, "Answer like a priest.")
        optimized.polish.predict.config = {"temperature": 0.75}
        with pytest.raises(sb.BindingError):
            sb.publish(program, optimized)
        assert session.get_variable("prompt") == "Answer like a poet."
        assert second.get_variable("t2") == 0.5


@pytest.mark.parametrize(
    "optimized", [lambda program: program, lambda _: dspy.Predict("question -> answer"), lambda _: "text"],
    ids=["the program itself", "another program", "no program"],
)  # fmt: skip
def test_only_a_copy_of_the_program_can_be_published(optimized: Any, program: Any) -> None:
    with pytest.raises(sb.BindingError):
        sb.publish(program, optimized(program))


def test_a_program_that_follows_nothing_has_nowhere_to_publish_to() -> None:
    with pytest.raises(sb.BindingError):
        sb.publish(Pair(), Pair())
