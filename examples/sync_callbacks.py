"""Being told what changed: `python -m examples.sync_callbacks`."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model
from snakepit_bridge import SessionContext

QUESTION = "What should I do on a rainy Sunday?"


async def main() -> None:
    """Hears of changes in three ways: at the next forward, on request, and each as it happens."""
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local
    with language_model() as lm:
        async with connect(session_id="sync-callbacks") as ctx:
            await ctx.register_variable("llm_temperature", "float", 0.7, constraints={"min": 0.0, "max": 2.0})
            with dspy.context(lm=lm):
                await at_the_next_forward(ctx)
                await on_request(ctx)
            await as_it_happens(ctx)


async def at_the_next_forward(ctx: SessionContext) -> None:
    """A callback runs before a forward that uses another value than the forward before."""
    qa = await sb.bind_async(dspy.Predict("question -> answer"), {"temperature": "llm_temperature"}, session=ctx)

    def changed(path: str, old: Any, new: Any) -> None:
        print(f"  callback: {path} {old} -> {new}")

    sb.on_change(qa, "temperature", changed)
    await qa.acall(question=QUESTION)
    print("two changes between two forwards")
    await ctx.set_variable("llm_temperature", 0.8)
    await ctx.set_variable("llm_temperature", 0.9)
    await qa.acall(question=QUESTION)

    # Once unbound, the program follows no more and the callback is never called again.
    sb.unbind(qa, "temperature")
    await qa.acall(question=QUESTION)


async def on_request(ctx: SessionContext) -> None:
    """A variable-aware module can be bound with a callback at once, and asked what is new without a forward."""
    cot = sb.VariableAwareChainOfThought("question -> answer", session_context=ctx)
    await cot.bind_to_variable(
        "temperature", "llm_temperature", lambda path, old, new: print(f"  {path}: {old} -> {new}")
    )
    await ctx.set_variable("llm_temperature", 0.2)
    print("asked:", await cot.sync_variables())
    print("asked again:", await cot.sync_variables())


async def as_it_happens(ctx: SessionContext) -> None:
    """A watch tells every single change, in order and without a gap, with who made it and why."""
    async for change in ctx.watch_variables("llm_*"):
        if change.kind == "initial":
            print(f"watching {change.name}, now {change.value}")
            await ctx.set_variable("llm_temperature", 0.3, reason="a start")
            await ctx.set_variable("llm_temperature", 0.4, reason="and on")
            await ctx.delete_variable("llm_temperature")
        else:
            print(f"  {change.kind} {change.old} -> {change.value} at revision {change.revision} ({change.reason})")
        if change.kind == "deleted":
            break


if __name__ == "__main__":
    asyncio.run(main())
