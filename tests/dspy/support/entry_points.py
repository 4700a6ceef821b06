"""Every way to run a program, each as a function from a program and questions to one answer per question."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb

EntryPoint = Callable[[Any, Sequence[str]], Iterable[Any]]

THREADS = 4


class Part(dspy.Module):
    """A program in the program, with an attribute of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.note = dspy.Predict("question -> note")
        self.width = 0

    def forward(self, question: str) -> Any:
        before = self.width
        self.note(question=question)
        return dspy.Prediction(read=[before, self.width])

    async def aforward(self, question: str) -> Any:
        before = self.width
        await self.note.acall(question=question)
        return dspy.Prediction(read=[before, self.width])


class AsyncWhole(dspy.Module):
    """Makes three requests, and reads attributes before, between and after them. Has no `forward`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.draft = dspy.Predict("question -> draft")
        self.part: Any = Part()
        self.polish = dspy.ChainOfThought("question, draft -> answer")
        self.k = 0

    async def aforward(self, question: str) -> Any:
        read = [self.k]
        draft = (await self.draft.acall(question=question)).draft
        read += [*(await self.part.acall(question=question)).read, self.k]
        await self.polish.acall(question=question, draft=draft)
        return dspy.Prediction(question=question, read=[*read, self.k])


class Whole(AsyncWhole):
    """The same, sync too."""

    def forward(self, question: str) -> Any:
        read = [self.k]
        draft = self.draft(question=question).draft
        read += [*self.part(question=question).read, self.k]
        self.polish(question=question, draft=draft)
        return dspy.Prediction(question=question, read=[*read, self.k])


class AwareWhole(sb.VariableAwareMixin, Whole):
    """The same, binding by itself."""


class CarryingWhole(Whole):
    """The same, with its inner calls in threads that DSPy knows nothing of."""

    def forward(self, question: str) -> Any:
        read = [self.k]

        def ask_part() -> None:
            read.extend(self.part(question=question).read)

        thread = threading.Thread(target=sb.carry(ask_part))
        thread.start()
        with ThreadPoolExecutor(2) as pool:
            draft = pool.submit(sb.carry(self.draft), question=question).result().draft
            pool.submit(sb.carry(self.polish), question=question, draft=draft).result()
        thread.join()
        return dspy.Prediction(question=question, read=[*read, self.k])

    async def aforward(self, question: str) -> Any:
        read, loop = [self.k], asyncio.get_running_loop()
        part = loop.run_in_executor(None, sb.carry(functools.partial(self.part, question=question)))
        draft = await loop.run_in_executor(None, sb.carry(functools.partial(self.draft, question=question)))
        ask = functools.partial(self.polish, question=question, draft=draft.draft)
        await loop.run_in_executor(None, sb.carry(ask))
        return dspy.Prediction(question=question, read=[*read, *(await part).read, self.k])


def called(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return [program(question=question) for question in questions]


def called_in_a_running_loop(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    async def run() -> Iterable[Any]:
        return called(program, questions)

    return asyncio.run(run())


def acalled(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return _gathered(program.acall, questions)


def forwarded(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return [program.forward(question=question) for question in questions]


def aforwarded(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return _gathered(program.aforward, questions)


def forwarded_async(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return _gathered(program.forward_async, questions)


def in_a_batch(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    answers: list[Any] = program.batch(_examples(questions), num_threads=THREADS, disable_progress_bar=True)
    return answers


def in_parallel(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    pairs = [(program, example) for example in _examples(questions)]
    answers: list[Any] = dspy.Parallel(num_threads=THREADS, disable_progress_bar=True)(pairs)
    return answers


def evaluated(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    evaluate = dspy.Evaluate(devset=_examples(questions), metric=lambda *_: 1.0, num_threads=THREADS)
    return [answer for _, answer, _ in evaluate(program).results]


def asyncified(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return _gathered(dspy.asyncify(program), questions)


def syncified(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return called(dspy.syncify(program), questions)


def syncified_by_a_wrapper(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return called(dspy.syncify(program, in_place=False), questions)


def streamified(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return _gathered(_last_of(dspy.streamify(program)), questions)


def streamified_async(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    return _gathered(_last_of(dspy.streamify(program, is_async_program=True)), questions)


def streamified_with_listeners(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    # A listener keeps what it has heard: one stream at a time.
    answers = []
    for question in questions:
        listeners = [dspy.streaming.StreamListener(signature_field_name=name) for name in ("note", "answer")]
        stream = dspy.streamify(program, stream_listeners=listeners, async_streaming=False)
        answers.append(list(stream(question=question))[-1])
    return answers


def in_raw_threads(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    answers: list[Any] = []

    def run(mine: Sequence[str]) -> None:
        answers.extend(called(program, mine))

    threads = [threading.Thread(target=run, args=(questions[start::THREADS],)) for start in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def in_a_thread_pool(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda question: program(question=question), questions))


def in_an_executor(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    async def run() -> Iterable[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(None, functools.partial(program, question=question)) for question in questions)
        )

    return asyncio.run(run())


ENTRY_POINTS: dict[str, tuple[EntryPoint, type[dspy.Module]]] = {
    "()": (called, Whole),
    "() in a running loop": (called_in_a_running_loop, Whole),
    "() of a variable-aware class": (called, AwareWhole),
    "acall": (acalled, Whole),
    "forward": (forwarded, Whole),
    "aforward": (aforwarded, Whole),
    "forward_async": (forwarded_async, AwareWhole),
    "batch": (in_a_batch, Whole),
    "dspy.Parallel": (in_parallel, Whole),
    "dspy.Evaluate": (evaluated, Whole),
    "dspy.asyncify": (asyncified, Whole),
    "dspy.syncify": (syncified, AsyncWhole),
    "dspy.syncify(in_place=False)": (syncified_by_a_wrapper, AsyncWhole),
    "dspy.streamify": (streamified, Whole),
    "dspy.streamify(is_async_program=True)": (streamified_async, Whole),
    "dspy.streamify(stream_listeners=...)": (streamified_with_listeners, Whole),
    "raw threads": (in_raw_threads, Whole),
    "ThreadPoolExecutor": (in_a_thread_pool, Whole),
    "loop.run_in_executor": (in_an_executor, Whole),
    "sb.carry in threads of a forward": (called, CarryingWhole),
    "sb.carry in executors of an aforward": (acalled, CarryingWhole),
}
"""The name of each, how it is run, and the program that it is run with."""


def _examples(questions: Sequence[str]) -> list[Any]:
    return [dspy.Example(question=question).with_inputs("question") for question in questions]


def _gathered(call: Callable[..., Any], questions: Sequence[str]) -> list[Any]:
    async def run() -> list[Any]:
        limit = asyncio.Semaphore(2 * THREADS)

        async def ask(question: str) -> Any:
            async with limit:
                return await call(question=question)

        return await asyncio.gather(*map(ask, questions))

    return asyncio.run(run())


def _last_of(stream: Callable[..., Any]) -> Callable[..., Any]:
    async def last(**inputs: Any) -> Any:
        return [value async for value in stream(**inputs)][-1]

    return last
