"""The agent that the Rust host asks: a ReAct whose only tool, `lookup_population`, is a function of that host.

A worker serves it: `python -m snakepit_bridge worker examples.rust_host.agent:agent --name population_agent`. The LM is
the one that $SNAKEPIT_MODEL names: any DSPy model string; `local`, a tiny real one on this machine; without it a script
that plays the LM, so that a thousand agents cost nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext

TOOL = "lookup_population"
# How long a lookup may take, in seconds: a thousand of them wait for the same host.
PATIENCE = 120.0


class Script(dspy.BaseLM):
    """Plays the LM of this agent: it looks the city of the question up, and answers with what it observed."""

    def __init__(self) -> None:
        super().__init__("scripted", cache=False)

    def __call__(self, prompt: Any = None, *, messages: Any = None, **_: Any) -> list[str]:  # noqa: ARG002
        """Answers at once."""
        return [_answer(messages)]

    async def acall(self, prompt: Any = None, *, messages: Any = None, **_: Any) -> list[str]:  # noqa: ARG002
        """Answers after the others had their turn, as waiting for a network does."""
        await asyncio.sleep(0)
        return [_answer(messages)]


def _answer(messages: list[dict[str, Any]]) -> str:
    asked = str(messages[-1]["content"])
    city = re.findall(r"population of ([^?]+)\?", asked)[-1]
    observed = re.findall(r"\[\[ ## observation_0 ## \]\]\n(.*)", asked)
    if "next_tool_name" not in str(messages[0]["content"]):
        return _fields(reasoning="The tool knows.", answer=f"{city} has {observed[0]} inhabitants.")
    if observed:
        return _fields(next_thought="Now I know it.", next_tool_name="finish", next_tool_args={})
    thought = f"I have to look up how many people live in {city}."
    return _fields(next_thought=thought, next_tool_name=TOOL, next_tool_args={"city": city})


def _fields(**fields: Any) -> str:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    sections = [f"[[ ## {name} ## ]]\n{text}" for name, text in texts.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def agent(ctx: BlockingContext) -> dspy.Module:
    """The program to serve; `ctx` is the worker's session, where the host's tools are."""
    program = dspy.ReAct("question -> answer", tools=sb.remote_tools(ctx, [TOOL], timeout=PATIENCE), max_iters=3)
    model = os.environ.get("SNAKEPIT_MODEL")
    if model == "local":
        from snakepit_bridge.local_lm import LocalLM

        local = LocalLM()

        class Steps(type(local.adapter)):  # type: ignore[misc]
            """So small a model acts only if it is told the form of each step; what it fills in is its own."""

            async def acall(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> Any:
                if "next_tool_name" in signature.output_fields:
                    lm_kwargs = {**lm_kwargs, "response_format": _step(first=not inputs["trajectory"])}
                return await super().acall(lm, lm_kwargs, signature, demos, inputs)

            def _prepare_response_format(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
                if "response_format" not in lm_kwargs:
                    super()._prepare_response_format(lm, lm_kwargs, signature)

        dspy.configure(
            lm=local.lm.copy(temperature=0.0, max_tokens=300), adapter=Steps(use_native_function_calling=False)
        )
    elif model:
        dspy.configure(lm=dspy.LM(model, cache=False, api_base=os.environ.get("SNAKEPIT_MODEL_API_BASE")))
    else:
        dspy.configure(lm=Script())
    return program


def _step(*, first: bool) -> dict[str, Any]:
    """What the local model may write: first a call of the tool, then the end."""
    text = {"type": "string", "maxLength": 200}
    city = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 40}}, "required": ["city"]}
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    tool, arguments = (TOOL, city) if first else ("finish", nothing)
    properties = {"next_thought": text, "next_tool_name": {"const": tool}, "next_tool_args": arguments}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "json_schema", "json_schema": {"name": "step", "schema": schema}}
