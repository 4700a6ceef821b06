"""Prints the demo, with bold text on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from examples.scripted_lm import asked_fields

_COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
_LABEL = 10


def bold(text: str) -> str:
    """The text in bold, on a terminal."""
    return f"\033[1m{text}\033[0m" if _COLOURED else text


def line(text: str = "") -> None:
    """Prints a text at once, also into a pipe."""
    print(text, flush=True)


def heading(text: str) -> None:
    """Prints what comes next."""
    line(f"\n{bold(text)}")


def row(label: str, text: str) -> None:
    """Prints a labelled text, wrapped under itself."""
    width = max(40, min(shutil.get_terminal_size((120, 24)).columns, 140) - _LABEL - 4)
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    line(f"  {label:<{_LABEL}}" + f"\n  {'':<{_LABEL}}".join(lines))


def command(written: str, printed: str) -> None:
    """Prints a command and what it printed."""
    line(f"  {bold(f'$ {written.strip()}')}")
    if printed:
        line(textwrap.indent(printed, "  "))


def values(used: Mapping[str, Any]) -> str:
    """Variables and their values on one line."""
    return " · ".join(f"{name} = {value!r}" for name, value in used.items())


def request(body: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """What a request body holds, as JSON: its long parts in short, and only what differs from the request before."""
    new, old = _in_short(body), _in_short(before) if before else {}
    differs = {key: value for key, value in new.items() if key not in old or old[key] != value}
    return json.dumps(differs, default=str) if differs else ""


def _in_short(body: Mapping[str, Any]) -> dict[str, Any]:
    short = {key: value for key, value in body.items() if key not in {"messages", "response_format"}}
    characters = sum(len(str(message["content"])) for message in body["messages"])
    short["messages"] = f"{len(body['messages'])} messages, {characters} characters"
    short["asks for"] = asked_fields(dict(body))
    return short
