"""An agent that makes the tool calls of one step at the same time."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import ReActV2
from snakepit_bridge.dspy_integration.agents.remote_tool import RemoteTool

AGENTS: list[type] = []
"""The agents here, as far as the installed DSPy has what they are made of."""

if ReActV2 is not None:

    class ParallelReActV2(ReActV2):
        """A `dspy.ReActV2` that runs the remote tools which a model calls in one step at the same time.

        DSPy runs them one after another. Tools of this process still run so, in their order, meanwhile. Results keep
        the order of the calls.
        """

        def _execute_tool_calls(self, tool_calls: Any) -> tuple[Any, dict[str, Any] | None]:
            run = super()._execute_tool_calls
            calls = [dspy.ToolCalls(tool_calls=[call]) for call in tool_calls.tool_calls]
            remote = [self._is_remote(call) for call in calls]
            if sum(remote) + (not all(remote)) < _SEVERAL:
                return run(tool_calls)  # type: ignore[no-any-return]
            with ThreadPoolExecutor(sum(remote), "snakepit-agent") as pool:
                # DSPy's settings and callbacks are in the context.
                running: list[Future[Any] | None] = [
                    pool.submit(contextvars.copy_context().run, run, call) if away else None
                    for call, away in zip(calls, remote, strict=True)
                ]
                done = [run(call) if future is None else future for call, future in zip(calls, running, strict=True)]
                return _joined([one.result() if isinstance(one, Future) else one for one in done])

        async def _aexecute_tool_calls(self, tool_calls: Any) -> tuple[Any, dict[str, Any] | None]:
            run = super()._aexecute_tool_calls
            return _joined(
                await asyncio.gather(*(run(dspy.ToolCalls(tool_calls=[call])) for call in tool_calls.tool_calls))
            )

        def _is_remote(self, call: Any) -> bool:
            return isinstance(self.tools.get(call.tool_calls[0].name), RemoteTool)

    AGENTS.append(ParallelReActV2)

_SEVERAL = 2


def _joined(parts: list[Any]) -> tuple[Any, dict[str, Any] | None]:
    """What the steps of one call each come to, as one step."""
    results = [result for given, _ in parts for result in given.tool_call_results]
    final = [outputs for _, outputs in parts if outputs is not None]
    return type(parts[0][0])(tool_call_results=results), final[-1] if final else None
