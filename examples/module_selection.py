"""A variable that chooses the module which reasons: `python -m examples.module_selection`."""

from __future__ import annotations

import asyncio
import os

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model
from snakepit_bridge import SessionContext

QUESTION = "What should I do on a rainy Sunday?"


def look_outside(place: str) -> str:
    """Says what the weather is like."""
    return f"It rains in {place}."


async def main() -> None:
    """Lets a variable choose between three modules, live and once."""
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local
    with language_model() as lm:
        async with connect(session_id="module-selection") as ctx:
            modules = ["Predict", "ChainOfThought", "ReAct"]
            await ctx.register_variable("strategy", "module", "Predict", constraints={"modules": modules})

            # Live: the module is looked up at every call, from the same snapshot as everything else. All candidates
            # exist from the start, so that saving, loading and optimizing see stable predictors. What needs more than
            # a signature is given here.
            live = sb.VariableModule(
                "strategy",
                "question -> answer",
                session=ctx,
                modules={"ReAct": lambda signature: dspy.ReAct(signature, tools=[look_outside], max_iters=2)},
            )
            print("predictors:", ", ".join(name for name, _ in live.named_predictors()))
            with dspy.context(lm=lm):
                for strategy in ("Predict", "ChainOfThought"):
                    await ctx.set_variable("strategy", strategy)
                    prediction = await live.acall(question=QUESTION)
                    print(f"{strategy} answered with {', '.join(prediction.keys())}")

            # Once: a resolver reads the variable and makes what it names. The result does not follow the variable.
            resolver = sb.ModuleVariableResolver(ctx)
            print("resolved:", (await resolver.resolve_module("strategy")).__name__)
            module = await resolver.create_module("strategy", "question -> answer")
            await ctx.set_variable("strategy", "Predict")
            print("still:", type(module).__name__)

            # Aliases and any case are the resolver's business; the variable itself accepts exactly what it allows.
            await ctx.register_variable("alias", "string", "cot")
            print("cot is:", (await resolver.resolve_module("alias")).__name__)


if __name__ == "__main__":
    asyncio.run(main())
