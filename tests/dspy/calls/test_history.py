"""The rows that DSPy keeps of LM requests say which revision a request was made with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.clients.base_lm import GLOBAL_HISTORY

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from tests.dspy.support.programs import ForwardOnly, Pair, agent, as_agent
from tests.support.recording_lm import RecordingLM


def named(row: dict[str, Any]) -> tuple[Any, Any]:
    return row["snakepit_session"], row["snakepit_revision"]


def call(program: Any) -> Any:
    return program(question="why?")


def await_acall(program: Any) -> Any:
    return asyncio.run(program.acall(question="why?"))


@pytest.mark.parametrize("run", [call, await_acall])
@pytest.mark.parametrize("make", [Pair, ForwardOnly, lambda: dspy.Predict("question -> answer")])
def test_every_row_of_a_bound_call_names_session_and_revision(
    run: Callable[[Any], Any], make: Callable[[], Any], lm: RecordingLM, session: BlockingContext
) -> None:
    program = sb.bind(make(), {"temperature": "t"}, session=session)
    answer = run(program)
    first = sb.revision_of(answer)
    written = session.set_variable("t", 0.5)
    run(program)
    rows = program.history
    assert len(rows) == len(lm.requests)
    assert {named(row) for row in rows} == {(session.session_id, first), (session.session_id, written.revision)}
    by_revision = {first: 0.25, written.revision: 0.5}
    assert [by_revision[row["snakepit_revision"]] for row in rows] == [body["temperature"] for body in lm.requests]
    # DSPy keeps one and the same row in every list.
    assert dspy.settings.lm.history[-len(rows) :] == rows
    assert GLOBAL_HISTORY[-len(rows) :] == rows


def test_rows_made_outside_of_a_bound_call_are_as_they_were(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    call(program)
    unbound = Pair()
    call(unbound)
    assert all("snakepit_revision" not in row and "snakepit_session" not in row for row in unbound.history)
    assert len(program.history) == len(unbound.history) == 2


def test_under_step_each_row_names_the_snapshot_of_its_own_request(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    written: list[int] = []

    def change(body: dict[str, Any]) -> Any:
        written.append(other.set_variable("t", (len(lm.requests) + 1) / 64).revision)
        return as_agent(body)

    lm.reply(change)
    program = sb.bind(agent(), {"temperature": "t"}, session=session, refresh="step")
    before = other.set_variable("t", 1 / 64).revision
    call(program)
    assert [body["temperature"] for body in lm.requests] == [1 / 64, 2 / 64, 3 / 64]
    assert [row["snakepit_revision"] for row in program.history] == [before, *written[:-1]]
    assert program.react.history == program.history[:-1]


def test_the_rows_of_a_table_of_models_and_of_model_copies_name_it_too(
    lm: RecordingLM, session: BlockingContext
) -> None:
    models = {"fast": lm.lm("openai/fast"), "strong": lm.lm("openai/strong")}
    session.register_variable("which", "string", "fast")
    program = sb.bind(Pair(), {"polish.model": "model"}, session=session)
    sb.bind(program, {"draft.model": "which"}, session=session, models=models)
    call(program)
    written = session.set_variable("which", "strong")
    call(program)
    assert [body["model"] for body in lm.requests] == ["fast", "gpt-4o", "strong", "gpt-4o"]
    assert len(models["fast"].history) == len(models["strong"].history) == 1
    assert models["strong"].history[0]["snakepit_revision"] == written.revision
    assert [row["model"] for row in dspy.settings.lm.history] == ["openai/gpt-4o"] * 2
    assert dspy.settings.lm.history[1]["snakepit_revision"] == written.revision


@pytest.mark.parametrize("how", ["threads", "batch", "gather"])
def test_concurrent_calls_never_mix_up_their_rows(
    how: str, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    value_at = {other.set_variable("t", 0.0).revision: 0.0}
    calls, stop = 60, [False]

    def flip() -> None:
        number = 0
        while not stop[0]:
            number += 1
            value = number % 128 / 64
            value_at[other.set_variable("t", value).revision] = value

    async def gather() -> None:
        # The LM's server does not take sixty connections at once.
        for _ in range(0, calls, 4):
            await asyncio.gather(*(program.acall(question="why?") for _ in range(4)))

    with ThreadPoolExecutor(5) as pool:
        flipping = pool.submit(flip)
        try:
            if how == "threads":
                list(pool.map(lambda _: call(program), range(calls)))
            elif how == "batch":
                examples = [dspy.Example(question="why?").with_inputs("question")] * calls
                program.batch(examples, num_threads=4, disable_progress_bar=True)
            else:
                asyncio.run(gather())
        finally:
            stop[0] = True
        flipping.result()
    assert len(program.history) == 2 * calls == len(lm.requests)
    assert all(row["kwargs"]["temperature"] == value_at[row["snakepit_revision"]] for row in program.history)
    assert len({row["snakepit_revision"] for row in program.history}) > 1


def test_a_request_made_with_defaults_names_no_revision(
    lm: RecordingLM, address: str, session: BlockingContext, start_server: Any
) -> None:
    running = start_server()
    with SessionContext.connect(running.address, session_id="s") as away:
        away.register_variable("t", "float", 0.25)
        program = sb.bind(dspy.Predict("question -> answer"), {"temperature": sb.Var("t", default=0.5)}, session=away)
        running.close()
        call(program)
    assert lm.requests[0]["temperature"] == 0.5
    assert named(program.history[0]) == ("s", None)


def test_a_direct_request_inside_a_snapshot_names_it(lm: RecordingLM, session: BlockingContext) -> None:
    with sb.snapshot(session) as taken:
        dspy.settings.lm("hello")
    assert named(dspy.settings.lm.history[-1]) == (session.session_id, taken.revision)


def test_the_innermost_session_is_the_one_that_a_row_names(
    lm: RecordingLM, session: BlockingContext, address: str
) -> None:
    with SessionContext.connect(address) as second:
        second.register_variable("tokens", "integer", 77)
        program = sb.bind(Pair(), {"temperature": "t"}, session=session)
        sb.bind(program.draft, {"max_tokens": "tokens"}, session=second)
        call(program)
        assert [row["snakepit_session"] for row in program.history] == [second.session_id, session.session_id]
        assert program.history[0]["snakepit_revision"] == second.revision


def test_history_is_still_printed(
    lm: RecordingLM, session: BlockingContext, capsys: pytest.CaptureFixture[str]
) -> None:
    program = sb.bind(Pair(), {"draft.instructions": "prompt"}, session=session)
    call(program)
    dspy.inspect_history(n=2)
    program.inspect_history(n=2)
    assert capsys.readouterr().out.count("Answer like a pirate.") == 2
