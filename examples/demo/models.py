"""The LM of the demo: the one that the user names, else the local one, else a scripted one that says so."""

from __future__ import annotations

import importlib.util
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
    """An LM, the adapter to ask it with, and the requests that it got.

    Attributes:
        lm: the LM.
        adapter: the adapter.
        description: which LM this is, for a person.
        requests: every request so far: HTTP bodies if the address is known, else what DSPy gave to its client.
    """

    lm: dspy.LM
    adapter: dspy.Adapter
    description: str
    requests: Callable[[], list[dict[str, Any]]]


@contextmanager
def open_model(model: str | None, api_base: str | None, *, download: bool = True) -> Iterator[Model]:
    """Opens an LM, and at the end of the block stops what it started.

    Args:
        model: a DSPy model string such as `openai/gpt-4o-mini`; None takes the local model.
        api_base: the address of that model, if it is not its provider's own.
        download: whether the local model may be downloaded if it is not in the cache.
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
    # A local server rarely needs a key, but the client does.
    key = {"api_key": os.environ.get("OPENAI_API_KEY", "none")} if model.startswith("openai/") else {}
    lm = dspy.LM(model, cache=False, num_retries=0, **key)
    return _tapped(lm, dspy.ChatAdapter(), f"{model} at {api_base}", api_base, stack)


def _local(stack: ExitStack, *, download: bool) -> Model | None:
    try:
        if importlib.util.find_spec("xllamacpp") and cached_model() is None:
            if not download:
                raise LocalModelError("the local model is not in the cache, and --offline forbids to download it")
            print("Downloading the local model, once: 94 MB. It takes about 20 seconds at 5 MB a second.", flush=True)
        local = stack.enter_context(LocalLM())
    except LocalModelError as error:
        lines = ["THERE IS NO LANGUAGE MODEL HERE: a script answers.", f"The reason: {error}"]
        lines.append("All else is real. To use another LM, run: make demo MODEL=openai/gpt-4o-mini")
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
