"""Taking the context of a call into threads that DSPy knows nothing of."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, run in the context of the place where `carry` was called, wherever it is called.

    The context is all of it: the call's snapshot, what `dspy.context` set, callbacks, tracing. DSPy carries it into
    `dspy.Parallel`, `batch` and `asyncify`, and Python into tasks and `asyncio.to_thread`; into `threading.Thread`,
    `ThreadPoolExecutor` and `loop.run_in_executor` nobody does, so that a bound program called there takes a snapshot
    of its own. Inside a forward:

        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(sb.carry(self.ask), questions))

    The result may be called any number of times, also at once, and after the call that it was made in: that call's
    snapshot stays in use. Context variables set by the function are not seen outside. A coroutine function gives a
    coroutine function; it runs as a task of the loop that awaits it.

    Raises:
        TypeError: it is not callable, or a generator function, whose body would run outside.
    """
    if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"carry takes a function or coroutine function that gives its whole result, not {function!r}")
    context = copy_context()

    # What runs is a copy: one context cannot be entered twice at once. `updated`: a module's state is not a function's.
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function, updated=())
        async def carried_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            own = context.copy()
            return await _in_task(own.run(function, *args, **kwargs), own)

        return cast("Callable[P, R]", carried_async)

    @functools.wraps(function, updated=())
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        own = context.copy()
        result = own.run(function, *args, **kwargs)
        return cast("R", _in_task(result, own)) if inspect.iscoroutine(result) else result

    return carried


async def _in_task(coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
    return await asyncio.get_running_loop().create_task(coroutine, context=context)
