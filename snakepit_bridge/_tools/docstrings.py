"""What a docstring tells about a function and about each of its arguments."""

from __future__ import annotations

import re

_SECTION = re.compile(r"^(\s*)(?:Args|Arguments|Parameters):\s*$")
_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


def parse(docstring: str) -> tuple[str, dict[str, str]]:
    """Its text without the section of arguments (Google style), and the description of each argument.

    The docstring is one that `inspect.getdoc` has cleaned.
    """
    lines = docstring.splitlines()
    start = next((number for number, line in enumerate(lines) if _SECTION.match(line)), None)
    if start is None:
        return docstring.strip(), {}
    margin = _indent(lines[start])
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > margin):
        end += 1
    text = "\n".join([*lines[:start], *lines[end:]])
    return re.sub(r"\n{3,}", "\n\n", text).strip(), _arguments(lines[start + 1 : end])


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    name = ""
    for line in lines:
        entry = _ENTRY.match(line.strip()) if _indent(line) == margin else None
        if entry is not None:
            name = entry[1]
            found[name] = [entry[2]]
        elif name and line.strip():
            found[name].append(line.strip())
    return {name: " ".join(part for part in parts if part) for name, parts in found.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
