"""The README's recording can be made again: its commands do on a real server what the recording shows."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools.recording.drawing import HIGH, PADDING, SIZE, TITLE, WIDE, Pane, draw
from tools.recording.story import ABOVE, BELOW
from tools.recording.terminal import Cell, Frame, without_waits

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def steps_of(style: str, name: str) -> list[tuple[float, bool]]:
    """From which percentage on what has that animation is visible."""
    found = re.search(rf"@keyframes {name}{{(.+?)}}\n", f"{style}\n".replace("}}", "}}\n"))
    assert found, name
    return [(float(at), seen == "visible") for at, seen in re.findall(r"([\d.]+)%{visibility:(\w+)}", found[1] + "}")]


def screens(svg: str, heights: list[int], columns: int, at: float | None) -> list[list[str]]:
    """What a drawing shows at that percentage of its length; None: where nothing is animated."""
    root = ElementTree.fromstring(svg)
    style = root.findtext(f"{SVG}style") or ""
    shown = [[[" "] * columns for _ in range(height)] for height in heights]
    tops = [sum(TITLE + height * HIGH + PADDING + 14 for height in heights[:index]) for index in range(len(heights))]
    for text in root.iter(f"{SVG}text"):
        names = [name for name in (text.get("class") or "").split() if name.startswith("k")]
        if text.get("class") == "t" or (at is None and text.get("visibility") == "hidden"):
            continue
        if at is not None and names and not [seen for begins, seen in steps_of(style, names[0]) if begins <= at][-1]:
            continue
        y = float(text.get("y", "nan"))
        pane = max(index for index, top in enumerate(tops) if top <= y)
        line, column = (
            round((y - SIZE - tops[pane] - TITLE) / HIGH),
            round((float(text.get("x", "nan")) - PADDING) / WIDE),
        )
        for index, letter in enumerate(text.text or ""):
            if letter != " ":
                shown[pane][line][column + index] = letter
    return [["".join(line).rstrip() for line in pane] for pane in shown]


def in_the_end(path: Path) -> tuple[list[str], list[str]]:
    """What the two terminals of a recording show in the end, line by line."""
    program, commands = screens(path.read_text(encoding="utf-8"), [ABOVE, BELOW], 110, None)
    return [line for line in program if line], [line for line in commands if line]


def check(program: list[str], commands: list[str]) -> None:
    """What has to be shown, whatever the LM answers."""
    assert program[0] == "$ python assistant.py" or program[0].startswith("revision ")
    forwards = [re.match(r"revision (\d+)  temperature (\S+)  \S", line) for line in program if line.startswith("rev")]
    told = [(int(it[1]), float(it[2])) for it in forwards if it]
    assert len(told) == len(forwards)
    # The session is revision 1, its variable 2, the set 3 and the rollback 4; what was refused is none.
    assert list(dict.fromkeys(told))[-2:] == [(3, 1.0), (4, 0.0)]
    told_in_order = [revision for revision, _ in told]
    assert told_in_order == sorted(told_in_order)
    # Which is another each time.
    commands = [line for line in commands if not line.startswith("  request: ")]
    refused = 'variable "llm_temperature" refuses 9.0: it has to satisfy max=2.0 (CONSTRAINT_VIOLATED)'
    assert commands[:6] == [
        "$ snakepit var set llm_temperature 1.0 --reason livelier",
        "llm_temperature is at version 2",
        "$ snakepit var set llm_temperature 9",
        f"snakepit: {refused}",
        "  next: give a value within the limits, or declare others with `snakepit var define --replace`",
        "$ snakepit var history llm_temperature",
    ]
    assert [re.sub(r"\d{4}-\S+Z|/\d+", "", line).split() for line in commands[6:9]] == [
        ["VERSION", "AT", "CHANGE", "VALUE", "BY", "REASON"],
        ["2", "set", "1.0", "ada", "livelier"],
        ["1", "registered", "0.0", "ada"],
    ]
    assert commands[9:] == [
        '$ snakepit var rollback llm_temperature --reason "calm again"',
        "llm_temperature is at version 3",
        "$",
    ]


def test_the_recording_can_be_made_again(tmp_path: Path) -> None:
    path = tmp_path / "recording.svg"
    made = [sys.executable, "-m", "tools.recording", "--lm", "scripted", "--fast", "--output", str(path)]
    subprocess.run(made, cwd=ROOT, check=True, timeout=300)
    check(*in_the_end(path))
    assert "SCRIPTED" in path.read_text(encoding="utf-8")


def test_the_recording_that_is_shown_shows_the_same_and_nothing_of_a_machine() -> None:
    path = ROOT / "docs" / "recording.svg"
    check(*in_the_end(path))
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"/(?:home|root|tmp|Users|work)\b", text) == []
    assert "<script" not in text
    assert set(re.findall(r"https?://[^\"<\s]+", text)) == {"http://www.w3.org/2000/svg"}


def frame(at: float, *lines: str) -> Frame:
    cells = tuple(tuple(Cell(letter) for letter in f"{line:<12}") for line in lines)
    return Frame(at, cells, (len(lines[-1]), 0))


@pytest.mark.parametrize("last", [4.0, 4.5])
def test_a_drawing_shows_each_frame_at_its_time(last: float) -> None:
    frames = [
        frame(0.0, "$", ""),
        frame(1.0, "$ ls", ""),
        frame(1.25, "$ ls", "a <&> b"),
        frame(2.0, "a <&> b", "$"),
        frame(3.0, "a <&> b", "$ ls"),
        frame(last, "$ ls", "a <&> b"),
    ]
    svg = draw([Pane("one", frames), Pane("two", frames[::2])], 5.0, "what it is")
    for index, frames_of in enumerate((frames, frames[::2])):
        for before, after in pairwise([*frames_of, frame(5.0, "", "")]):
            middle = 20 * (before.at + after.at) / 2
            lines = ["".join(cell.text for cell in line).rstrip() for line in before.cells]
            assert screens(svg, [2, 2], 12, middle)[index] == lines
    # Without animations, what is there in the end.
    assert screens(svg, [2, 2], 12, None)[0] == ["$ ls", "a <&> b"]


def test_a_wait_is_made_short_in_all_terminals_alike() -> None:
    one = [frame(0.0, "a"), frame(10.0, "b")]
    two = [frame(0.0, "c"), frame(1.0, "d"), frame(10.5, "e")]
    shortened = without_waits([one, two], 2.0)
    assert [[it.at for it in frames] for frames in shortened] == [[0.0, 3.0], [0.0, 1.0, 3.5]]
