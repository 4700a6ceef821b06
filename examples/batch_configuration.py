"""Many variables, one atomic write: `python -m examples.batch_configuration`."""

from __future__ import annotations

import asyncio
import os

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model, last_request
from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import ConstraintError, VersionConflictError

PROFILES = {
    "precise": {"llm_temperature": 0.0, "llm_max_tokens": 200, "llm_top_p": 1.0},
    "creative": {"llm_temperature": 1.4, "llm_max_tokens": 400, "llm_top_p": 0.9},
}


async def main() -> None:
    """Switches a program between whole configurations, and shows what happens to a bad one."""
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local
    with language_model() as lm:
        async with connect(session_id="batch-configuration") as ctx:
            await ctx.register_variable("llm_temperature", "float", 0.7, constraints={"min": 0.0, "max": 2.0})
            await ctx.register_variable("llm_max_tokens", "integer", 300, constraints={"min": 1, "max": 4096})
            await ctx.register_variable("llm_top_p", "float", 1.0, constraints={"min": 0.0, "max": 1.0})

            bindings = {name.removeprefix("llm_"): name for name in PROFILES["precise"]}
            qa = await sb.bind_async(dspy.Predict("question -> answer"), bindings, session=ctx)

            # A profile is one write: one revision, all of it or nothing. No forward ever sees half of one.
            with dspy.context(lm=lm):
                for name, profile in PROFILES.items():
                    await ctx.set_variables(profile, reason=f"profile {name}")
                    prediction = await qa.acall(question="What should I do on a rainy Sunday?")
                    sent = last_request(lm)
                    values = {parameter: sent[parameter] for parameter in bindings}
                    print(f"{name}: revision {sb.revision_of(prediction)} sent {values}")

            # One bad value refuses the whole batch, and the error says which it was.
            before = await ctx.get_variables(list(PROFILES["precise"]))
            try:
                await ctx.set_variables({"llm_max_tokens": 100, "llm_temperature": 3.0})
            except ConstraintError as error:
                print(f"refused: {error.variable} has to satisfy {error.facts['constraint']}")
            print("unchanged:", await ctx.get_variables(list(PROFILES["precise"])) == before)

            # Collected in a block, sent at its end, and not at all if the block fails. An expected version makes sure
            # that nobody else was faster.
            async with ctx.batch_updates() as batch:
                batch.set("llm_temperature", 0.5)
                batch.set("llm_max_tokens", 150)
            print("batch sent:", await ctx.get_variables(["llm_temperature", "llm_max_tokens"]))
            try:
                async with ctx.batch_updates() as batch:
                    batch.set("llm_top_p", 0.5)
                    batch.set("llm_temperature", 0.6, expected_version=1)
            except VersionConflictError as error:
                print(f"someone was faster: {error.variable} is at version {error.actual}, not {error.expected}")
            print("top_p still:", await ctx.get_variable("llm_top_p"))


if __name__ == "__main__":
    asyncio.run(main())
