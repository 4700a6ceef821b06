"""Cells of a notebook: each is code in a loop that is running already, which may `await` at its top level.

Jupyter's kernel compiles a cell with `PyCF_ALLOW_TOP_LEVEL_AWAIT` and runs it on its loop, awaiting what awaits. So do
these tests, with one task per cell.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from snakepit_bridge import BlockingContext
from tests.support.recording_lm import RecordingLM

Cell = Callable[[str], Coroutine[Any, Any, None]]

SET_UP = """
    import asyncio
    import dspy
    import snakepit_bridge.dspy_integration as sb
    from snakepit_bridge import SessionContext
    from tests.dspy.support.programs import ForwardOnly, Pair

    asyncio.get_running_loop()
    ctx = SessionContext.connect(address, session_id=session_id, freshness=freshness)
    """


@pytest.fixture(params=["latest", "streamed"])
def namespace(request: pytest.FixtureRequest, session: BlockingContext) -> dict[str, Any]:
    """What the cells share."""
    return {"address": session.address, "session_id": session.session_id, "freshness": request.param}


@pytest.fixture
def cell(namespace: dict[str, Any]) -> Cell:
    """Runs the source of a cell."""

    async def run(source: str) -> None:
        code = compile(textwrap.dedent(source), "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            await result

    async def as_a_task(source: str) -> None:
        await asyncio.create_task(run(source))

    return as_a_task


async def test_a_program_is_bound_and_called_blocking_and_awaited_in_cells(
    cell: Cell, namespace: dict[str, Any], lm: RecordingLM, other: BlockingContext
) -> None:
    await cell(SET_UP)
    await cell("program = sb.bind(Pair(), {'temperature': 't', 'k': 'tokens'}, session=ctx)")
    await cell("answers = [program(question='why?')]")
    other.set_variables({"t": 0.5, "tokens": 222})
    # With a stream, too, a call has what was written before it here, and so what was written before that.
    await cell("await ctx.set_variable('t', 0.75)")
    await cell("answers.append(await program.acall(question='why?'))")
    await cell("answers.append(program.forward(question='why?'))")
    await cell("answers += await asyncio.gather(*(program.aforward(question='why?') for _ in range(2)))")
    await cell("await ctx.aclose()")
    revisions = [namespace["sb"].revision_of(answer) for answer in namespace["answers"]]
    assert revisions[0] is not None
    assert revisions == sorted(revisions)
    assert [answer.k for answer in namespace["answers"]] == [111, 222, 222, 222, 222]
    assert [body["temperature"] for body in lm.requests] == [0.25] * 2 + [0.75] * 8


async def test_variables_are_set_and_read_blocking_in_cells(
    cell: Cell, namespace: dict[str, Any], lm: RecordingLM
) -> None:
    await cell(SET_UP)
    await cell("program = await sb.bind_async(ForwardOnly(), {'temperature': 't'}, session=ctx)")
    await cell("ctx.blocking.set_variable('t', 1.5); program(question='why?')")
    await cell("ctx.blocking['t'] = 1.25; await program.acall(question='why?')")
    await cell("with sb.snapshot(ctx): ctx.blocking['t'] = 0.75; program(question='why?')")
    await cell("async with sb.snapshot(ctx): await program.acall(question='why?')")
    await cell("ctx.blocking.close()")
    assert [body["temperature"] for body in lm.requests] == [1.5, 1.25, 1.25, 0.75]


async def test_a_failing_cell_leaves_no_snapshot_behind(
    cell: Cell, namespace: dict[str, Any], lm: RecordingLM, other: BlockingContext
) -> None:
    await cell(SET_UP)
    await cell("""
        class Failing(Pair):
            def forward(self, question):
                self.draft(question=question)
                raise LookupError(question)

        program = sb.bind(Failing(), {'temperature': 't'}, session=ctx)
        """)
    with pytest.raises(LookupError):
        await cell("program(question='why?')")
    await cell("ctx.blocking.set_variable('t', 0.5); await program.acall(question='why?')")
    await cell("ctx.blocking.close()")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.5, 0.5]
