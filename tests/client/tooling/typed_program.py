"""A program as a user may write it. It runs, and `mypy --strict` accepts it and needs each of its ignores."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, assert_type

from snakepit_bridge import (
    Author,
    Batch,
    BlockingContext,
    Change,
    LocalServer,
    Outcome,
    SessionContext,
    Tool,
    Variable,
    VariableVersion,
    exceptions,
    local_server,
)


def declare(ctx: BlockingContext) -> None:
    """Declares and changes variables."""
    declared = ctx.register_variable("typed", "float", 0.7, constraints={"min": 0.0, "max": 2.0})
    assert_type(declared, Outcome)
    assert_type(declared.version, int)
    assert_type(ctx.set_variables({"typed": 0.2}, reason="colder"), list[Outcome])
    with ctx.batch_updates() as batch:
        assert_type(batch, Batch)
        assert_type(batch.set("typed", 0.3), Batch)
    try:
        ctx.set_variable("typed", 9)
    except exceptions.ConstraintError as refused:
        assert_type(refused.facts, dict[str, str])
        assert_type(refused.constraint, str)


def read(ctx: BlockingContext) -> list[str]:
    """Reads what there is."""
    listed = ctx.list_variables()
    assert_type(listed, list[Variable])
    assert_type(listed[0].updated_at, datetime)
    assert_type(listed[0].updated_by, Author)
    assert_type(ctx.history("typed"), list[VariableVersion])
    with ctx.watch_variables("t*") as watch:
        assert_type(next(watch), Change)
    return [variable.name for variable in listed]


async def read_async(ctx: SessionContext) -> Any:
    """Reads and watches in a loop."""
    assert_type(await ctx.list_variables(), list[Variable])
    assert_type(ctx.blocking, BlockingContext)
    async for change in ctx.watch_variables(names=["typed"]):
        assert_type(change, Change)
        break
    return await ctx.get_variable("typed")


def offer(ctx: BlockingContext) -> None:
    """Offers tools, whose types stay what they were."""

    @ctx.tool
    def double(number: int) -> int:
        return 2 * number

    @ctx.tool(idempotent=True, timeout=5.0)
    def negate(number: int) -> int:
        return -number

    assert_type(double(2) + negate(2), int)
    assert_type(ctx.offer(double), Tool)
    assert_type(ctx.list_tools(), list[Tool])
    print(ctx.call_tool("double", number=21))


def refused_by_the_checker(ctx: BlockingContext, context: SessionContext) -> None:
    """What a type checker has to refuse. Never called."""
    ctx.register_variable("typed")  # type: ignore[call-arg]
    ctx.set_variable("typed", 0.2, expected_version="1")  # type: ignore[arg-type]
    ctx.set_variable("typed", 0.2, 1)  # type: ignore[call-arg]
    ctx.list_variables()[0].value = 1  # type: ignore[misc]
    SessionContext.connect(freshness="sometimes")  # type: ignore[arg-type]
    context.list_variables()[0]  # type: ignore[index]
    ctx.tool(idempotent="yes")  # type: ignore[call-overload]
    ctx.no_such_method()  # type: ignore[attr-defined]


def main() -> None:
    """Does all of it, on a server of its own."""
    with local_server() as server:
        assert_type(server, LocalServer)
        context = SessionContext.connect(server.address, freshness="streamed")
        with context as ctx:
            assert_type(ctx, BlockingContext)
            declare(ctx)
            print(read(ctx), asyncio.run(read_async(context)))
            offer(ctx)


if __name__ == "__main__":
    main()
