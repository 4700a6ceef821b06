"""The LM of the demo: the one asked for, else the local one, else a scripted one that says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dspy

from examples.demo.wire import WireTap
from examples.scripted_lm import ScriptedLM
from snakepit_bridge.local_lm import LocalLM, LocalModelError, cached_model


@dataclass(frozen=True)
class Model:
    """An LM, how to ask it, and what went out to it.

    Attributes:
        lm: whom to ask.
        adapter: how to ask.
        description: which LM this is, for a person.
        requests: every request so far: HTTP bodies if the address is known, else what DSPy handed to its client.
    """

    lm: dspy.LM
    adapter: dspy.Adapter
    description: str
    requests: Callable[[], list[dict[str, Any]]]


@contextmanager
def open_model(model: str | None, api_base: str | None, *, download: bool = True) -> Iterator[Model]:
    """Gives the LM to show, and ends what it started when left.

    Args:
        model: a DSPy model string such as `openai/gpt-4o-mini`; None takes the local model.
        api_base: where that model answers, if not at its provider's own address.
        download: whether the local model may be fetched if it is not in the cache.
    """
    with ExitStack() as stack:
        if model:
            yield _named(model, api_base, stack)
        elif local := _local(stack, download=download):
            yield local
        else:
            scripted = stack.enter_context(ScriptedLM())
            yield _tapped(
                scripted.lm, dspy.ChatAdapter(), "a SCRIPTED LM, which is not a language model", scripted.url, stack
            )


def _named(model: str, api_base: str | None, stack: ExitStack) -> Model:
    if api_base is None:
        lm = dspy.LM(model, cache=False, num_retries=1)
        return Model(lm, dspy.ChatAdapter(), model, lambda: [_of(entry) for entry in lm.history])
    # Servers of one's own rarely want a key, but the client insists on one.
    key = {"api_key": os.environ.get("OPENAI_API_KEY", "none")} if model.startswith("openai/") else {}
    lm = dspy.LM(model, cache=False, num_retries=0, **key)
    return _tapped(lm, dspy.ChatAdapter(), f"{model} at {api_base}", api_base, stack)


def _local(stack: ExitStack, *, download: bool) -> Model | None:
    try:
        if not download and cached_model() is None:
            raise LocalModelError("the local model is not in the cache, and downloading it was not wanted")
        local = stack.enter_context(LocalLM())
    except LocalModelError as error:
        lines = ["THERE IS NO LANGUAGE MODEL HERE: what follows is answered by a script.", str(error)]
        lines.append("Everything else is real. Another LM: make demo MODEL=openai/gpt-4o-mini")
        print("\n".join(f"!!! {line}" for line in lines), file=sys.stderr, flush=True)
        return None
    description = "SmolLM2-135M-Instruct on this machine"
    return _tapped(local.lm, local.adapter, description, local.url, stack)


def _tapped(lm: dspy.LM, adapter: dspy.Adapter, description: str, url: str, stack: ExitStack) -> Model:
    tap = WireTap(url)
    stack.callback(tap.close)
    return Model(lm.copy(api_base=tap.url), adapter, description, lambda: list(tap.bodies))


def _of(entry: dict[str, Any]) -> dict[str, Any]:
    return {"model": entry["model"], **entry["kwargs"], "messages": entry["messages"]}
