"""What a program says while it runs: DSPy's streaming, as an iterator that may be read as slowly as one likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import StatusMessage, StreamListener, StreamResponse
from snakepit_bridge.dspy_integration.programs.fields import Fields
from snakepit_bridge.exceptions import BindingError

Listeners = bool | Sequence[str] | Callable[[], Iterable[Any]]
"""Which output fields to stream: all of them, some by name, or what a function gives."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """How to stream a program.

    Attributes:
        listeners: makes DSPy's listeners for one call, as they have a state.
    """

    listeners: Callable[[], list[Any]]

    async def run(
        self, program: Any, values: dict[str, Any], settings: Mapping[str, Any], *, in_thread: bool
    ) -> AsyncGenerator[Any, None]:
        """Runs the program: yields what DSPy streams, then its Prediction. Ended early, it ends the program."""
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(1)
        streamed = dspy.streamify(
            _Whole(program), stream_listeners=self.listeners(), is_async_program=not in_thread, async_streaming=True
        )

        async def produce() -> None:
            # In a task of its own: DSPy's settings are not to be held across a yield.
            try:
                with dspy.context(**settings):
                    async for item in streamed(**values):
                        # Without listeners there would be what the LM's provider sends, too.
                        if isinstance(item, _HEARD):
                            await queue.put(("item", item))
            except Exception as error:
                await queue.put(("error", _alone(error)))
            else:
                await queue.put(("end", None))

        producer = asyncio.create_task(produce())
        try:
            while (event := await queue.get())[0] == "item":
                yield event[1]
            if event[0] == "error":
                raise event[1]
        finally:
            producer.cancel()
            with suppress(asyncio.CancelledError):
                await producer


def _alone(error: Exception) -> Exception:
    """The one error in a group, in which DSPy before 3.4 leaves it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


_HEARD = (StatusMessage, StreamResponse, dspy.Prediction)


class _Whole:
    """A program as `dspy.streamify` takes it, which waits for ever for the end of one that gives no Prediction."""

    def __init__(self, program: Any) -> None:
        self._program = program
        self.named_predictors = program.named_predictors

    def __call__(self, **values: Any) -> Any:
        try:
            return _prediction(self._program(**values))
        except (SystemExit, KeyboardInterrupt) as error:
            raise _ended(error) from None

    async def acall(self, **values: Any) -> Any:
        try:
            return _prediction(await self._program.acall(**values))
        except (SystemExit, KeyboardInterrupt) as error:
            raise _ended(error) from None


def _ended(error: BaseException) -> RuntimeError:
    """What to raise in a task instead of what would end its event loop."""
    return RuntimeError(f"the program raised {type(error).__name__}: {error}")


def _prediction(result: Any) -> Any:
    if not isinstance(result, dspy.Prediction):
        raise TypeError(f"a program that streams has to return a dspy.Prediction, not a {type(result).__name__}")
    return result


def listeners_of(program: Any, stream: Listeners, fields: Fields) -> Streaming:
    """How to stream what `serve_program` is told to.

    Raises:
        BindingError: no predictor writes such a field, or several do.
    """
    if callable(stream):
        return Streaming(lambda: list(stream()))
    predictors = dict(program.named_predictors())
    written = {name: list(predictor.signature.output_fields) for name, predictor in predictors.items()}
    wanted = _all(written, fields) if stream is True else [stream] if isinstance(stream, str) else list(stream or ())
    found = [_find(name, written) for name in wanted]
    return Streaming(
        lambda: [StreamListener(field, predict=predictors[name], predict_name=name) for name, field in found]
    )


def _all(written: Mapping[str, list[str]], fields: Fields) -> list[str]:
    """The program's outputs, as far as one predictor writes them; of a user's module, what its last one writes."""
    names = list(fields.outputs) or (list(written.values())[-1] if written else [])
    return [name for name in names if sum(name in outputs for outputs in written.values()) == 1]


def _find(wanted: str, written: Mapping[str, list[str]]) -> tuple[str, str]:
    predictor, _, field = wanted.rpartition(".")
    places = [name for name, outputs in written.items() if field in outputs and (not predictor or name == predictor)]
    if len(places) == 1:
        return places[0], field
    known = ", ".join(f"{name}.{output}" for name, outputs in written.items() for output in outputs)
    problem = f"{len(places)} predictors write a field {field!r}" if places else f"no predictor writes {wanted!r}"
    raise BindingError(f"cannot stream {wanted!r}: {problem}; the fields are {known or 'none'}", {"field": wanted})
