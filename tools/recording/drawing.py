"""Draws what terminals have shown as one animated SVG, without scripts, for pages that show it as a picture.

Each cell of a screen shows something from one moment to another. Neighbours that share their moments and their style
are one text, whose visibility an animation switches. Without animations the last state is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from tools.recording.terminal import Cell, Frame

WIDE, HIGH, SIZE = 7.8, 18, 13
PADDING, TITLE, GAP = 14, 30, 14
COLOURS = {
    "default": "#e6edf3",
    "black": "#6e7681",
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#76e3ea",
    "white": "#e6edf3",
}
STYLE = """text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}
.t{fill:#9198a1;font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}.b{font-weight:bold}
@media (prefers-reduced-motion:reduce){*{animation:none!important}}"""


@dataclass(frozen=True)
class Pane:
    """A terminal to draw: its name and what it has shown."""

    title: str
    frames: list[Frame]


@dataclass(frozen=True)
class _Shown:
    """Something on a screen, from one moment to another."""

    line: int
    column: int
    start: float
    end: float
    cell: Cell


def draw(panes: list[Pane], length: float, description: str) -> str:
    """The SVG of panes below each other, over that many seconds."""
    sheet = _Sheet(length)
    columns = len(panes[0].frames[0].cells[0])
    width = round(columns * WIDE + 2 * PADDING)
    top, parts = 0, []
    for pane in panes:
        high = TITLE + len(pane.frames[0].cells) * HIGH + PADDING
        frame = f'x="0.5" y="{top + 0.5}" width="{width - 1}" height="{high - 1}" rx="8"'
        parts.append(f'<rect {frame} fill="#161b22" stroke="#3d444d"/>')
        parts.append(f'<text class="t" x="{PADDING}" y="{top + 20}">{escape(pane.title)}</text>')
        parts.extend(sheet.cursor(pane, top + TITLE, length))
        parts.extend(sheet.texts(pane, top + TITLE, length))
        top += high + GAP
    height = top - GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head += f' font-size="{SIZE}" role="img">'
    told = f"<desc>{escape(description)}</desc>"
    return "\n".join([head, told, f"<style>{STYLE}\n{sheet.rules()}</style>", *parts, "</svg>\n"])


class _Sheet:
    """The animations, one for all that is shown from the same moment to the same moment."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._names: dict[tuple[float, float], str] = {}

    def texts(self, pane: Pane, top: int, length: float) -> list[str]:
        """What the cells have shown."""
        shown = [it for it in _cells(pane.frames, length) if it.cell.text != " "]
        shown.sort(key=lambda it: (it.line, it.start, it.end, it.cell.colour, it.cell.bold, it.column))
        runs: list[list[_Shown]] = []
        for it in shown:
            last = runs[-1][-1] if runs else None
            if last and last.column + 1 == it.column and _kind(last) == _kind(it):
                runs[-1].append(it)
            else:
                runs.append([it])
        return [self._text(run, top) for run in _joined(runs)]

    def cursor(self, pane: Pane, top: int, length: float) -> list[str]:
        """Where its cursor has been."""
        moves = [next(same) for _, same in groupby(pane.frames, key=lambda frame: frame.cursor)]
        ends = [it.at for it in moves[1:]] + [length]
        drawn = []
        for frame, end in zip(moves, ends, strict=True):
            x, y = frame.cursor
            if end > frame.at:
                at = f'x="{PADDING + x * WIDE:.1f}" y="{top + y * HIGH + 2}" width="{WIDE}" height="{HIGH - 3}"'
                drawn.append(f'<rect {at} fill="#9198a1" opacity="0.7"{self._times(frame.at, end)}/>')
        return drawn

    def rules(self) -> str:
        """The animations themselves."""
        rules = []
        for (start, end), name in self._names.items():
            moments = [(0.0, start == 0)] if start == 0 else [(0.0, False), (start, True)]
            moments += [(end, False)] if end < self._length else []
            steps = "".join(
                f"{100 * at / self._length:.4g}%{{visibility:{'visible' if on else 'hidden'}}}" for at, on in moments
            )
            rules.append(
                f".{name}{{animation:{name} {self._length:.1f}s step-end infinite}}@keyframes {name}{{{steps}}}"
            )
        return "\n".join(rules)

    def _text(self, run: list[_Shown], top: int) -> str:
        first = run[0]
        text = "".join(it.cell.text for it in run)
        x, y = PADDING + first.column * WIDE, top + first.line * HIGH + SIZE
        wide = f' textLength="{len(text) * WIDE:.1f}"' if len(text) > 1 else ""
        times = self._times(first.start, first.end, "b" if first.cell.bold else "")
        colour = COLOURS.get(first.cell.colour, f"#{first.cell.colour}")
        return f'<text x="{x:.1f}" y="{y}" fill="{colour}"{wide}{times}>{escape(text)}</text>'

    def _times(self, start: float, end: float, also: str = "") -> str:
        if start == 0 and end == self._length:
            return f' class="{also}"' if also else ""
        name = self._names.setdefault((start, end), f"k{len(self._names)}")
        last = "" if end == self._length else ' visibility="hidden"'
        return f' class="{f"{name} {also}".strip()}"{last}'


def _kind(it: _Shown) -> tuple[int, float, float, str, bool]:
    return it.line, it.start, it.end, it.cell.colour, it.cell.bold


def _joined(runs: list[list[_Shown]]) -> list[list[_Shown]]:
    """Runs with the blanks between them, where those are all that is between."""
    joined: list[list[_Shown]] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last and _kind(last[-1]) == _kind(run[0]):
            missing = range(last[-1].column + 1, run[0].column)
            first = run[0]
            last += [_Shown(first.line, column, first.start, first.end, Cell(" ")) for column in missing]
            last += run
        else:
            joined.append(list(run))
    return joined


def _cells(frames: list[Frame], length: float) -> list[_Shown]:
    """From when to when each cell shows what."""
    found = []
    for line in range(len(frames[0].cells)):
        for column in range(len(frames[0].cells[0])):
            changes = [next(same) for _, same in groupby(frames, key=lambda frame: frame.cells[line][column])]
            ends = [it.at for it in changes[1:]] + [length]
            for frame, end in zip(changes, ends, strict=True):
                if end > frame.at:
                    found.append(_Shown(line, column, frame.at, end, frame.cells[line][column]))
    return found
