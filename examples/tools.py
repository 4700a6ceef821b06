"""Tools across processes: `python -m examples.tools`.

One process offers a function as a tool. A worker serves an agent that has this tool, and the agent is a tool itself.
This process knows neither: it asks the agent by its name, and gets the whole Prediction.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import BridgeError

QUESTION = "What is the population of Paris?"
POPULATIONS = {"Paris": 2_113_705, "Rome": 2_748_109, "Oslo": 717_710}


# The first process ------------------------------------------------------------------------------------------------


def population(city: str) -> int:
    """Looks up how many people live in a city.

    Args:
        city: its English name.
    """
    if city not in POPULATIONS:
        raise KeyError(f"no city named {city}; there are {', '.join(POPULATIONS)}")
    return POPULATIONS[city]


def offer(address: str, session: str) -> None:
    """Offers the function until stdin ends. Name, description and schema are those of the function."""
    with SessionContext.connect(address, session_id=session) as ctx:
        tool = ctx.offer(population, idempotent=True)
        print(f"offering {tool.name}", flush=True)
        sys.stdin.read()


# The second process, a worker: `python -m snakepit_bridge worker examples.tools:agent …` ---------------------------


def configure() -> None:
    """What a process of the worker does first."""
    api_base = os.environ["AGENT_API_BASE"] or None
    dspy.configure(lm=dspy.LM(os.environ["SNAKEPIT_MODEL"], cache=False, api_base=api_base))


def agent(ctx: SessionContext) -> dspy.Module:
    """Makes what the worker serves: an agent with whatever the session's toolset says, among what it can call."""
    tools = sb.remote_tools(ctx, ["population"])
    return sb.bind(dspy.ReAct("question -> answer", tools=tools, max_iters=4), {"tools": "toolset"}, session=ctx)


# This process -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Starts both processes, and asks."""
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local
    with language_model() as lm, connect(session_id="tools") as ctx:
        ctx.register_variable("toolset", "list", ["population"])
        where = [ctx.address, ctx.session_id]
        worker = ["--address", ctx.address, "--session", ctx.session_id, "--name", "support_agent"]
        worker += ["--configure", "examples.tools:configure", "--concurrency", "8"]
        asked = {"SNAKEPIT_MODEL": lm.model, "AGENT_API_BASE": lm.kwargs.get("api_base") or ""}
        with (
            process("examples.tools", "offer", *where),
            process("snakepit_bridge", "worker", "examples.tools:agent", *worker, **asked),
        ):
            ask(ctx)


def ask(ctx: BlockingContext) -> None:
    """Calls the agent by its name."""
    for tool in ctx.list_tools():
        arguments = ", ".join(tool.arguments_schema["properties"])
        print(f"{tool.name}({arguments}), by {tool.workers} worker: {tool.description.splitlines()[0]}")

    # What comes is plain data that any language can read; in Python it is the Prediction again.
    answer = sb.load(ctx.call_tool("support_agent", question=QUESTION))
    steps = answer.trajectory
    for number in range(len(steps) // 4):
        called = f"{steps[f'tool_name_{number}']}({steps[f'tool_args_{number}']})"
        print(f"step {number + 1}: {steps[f'thought_{number}']} -> {called} -> {steps[f'observation_{number}']}")
    print(f"answer at revision {sb.revision_of(answer)}: {answer.answer}")

    # Arguments are checked before anybody runs.
    try:
        ctx.call_tool("population", town="Paris")
    except BridgeError as error:
        print(f"refused: {type(error).__name__}")

    # What a tool raises elsewhere is raised here.
    try:
        ctx.call_tool("population", city="Atlantis")
    except KeyError as error:
        print(f"raised there and here: {error}")


@contextmanager
def process(module: str, *arguments: str, **environment: str) -> Iterator[None]:
    """Runs a module in a process of its own, from when it says that it is ready."""
    environment = {**os.environ, "OPENAI_API_KEY": os.environ.get("OPENAI_API_KEY", "none"), **environment}
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdin
        assert started.stdout
        print(started.stdout.readline().partition(" at ")[0].strip())
        try:
            yield
        finally:
            # The first ends with its stdin. The worker lets its calls finish.
            started.stdin.close()
            started.terminate()


if __name__ == "__main__":
    offer(*sys.argv[2:]) if sys.argv[1:2] == ["offer"] else main()
