"""An LM in this process, for tests that need thousands of calls: it keeps what an LM is asked, and answers at once."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

import dspy

from tests.support.recording_lm import asked_fields, render

Reply = Callable[[dict[str, Any]], Mapping[str, Any]]


class InstantLM(dspy.BaseLM):
    """Records each request as `RecordingLM` does: messages, model and generation parameters in one dict.

    Before it answers it lets other threads or tasks run, as waiting for a network does. The answer is "x" for every
    output field that is asked for, unless `reply` says otherwise.
    """

    def __init__(self, model: str = "openai/gpt-4o-mini") -> None:
        super().__init__(model, cache=False)
        self.requests: list[dict[str, Any]] = []
        self._replies: list[Reply] = [lambda body: dict.fromkeys(asked_fields(body), "x")]

    def reply(self, reply: Reply) -> None:
        """Sets what is answered from now on, by the copies of this LM for other models too."""
        self._replies[0] = reply

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> list[str]:
        time.sleep(0)
        return self._answer(messages, kwargs)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> list[str]:
        await asyncio.sleep(0)
        return self._answer(messages, kwargs)

    def copy(self, **kwargs: Any) -> InstantLM:
        """An LM of another model that writes into the same record."""
        twin = copy.copy(self)
        twin.kwargs = dict(self.kwargs)
        for name, value in kwargs.items():
            setattr(twin, name, value)
        return twin

    def _answer(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> list[str]:
        given = {name: value for name, value in {**self.kwargs, **kwargs}.items() if value is not None}
        body = {**given, "model": self.model, "messages": messages}
        self.requests.append(body)
        return [render(self._replies[0](body), body)]
