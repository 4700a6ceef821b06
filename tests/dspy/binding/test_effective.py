"""What `effective` tells, and how it prints."""

from __future__ import annotations

import copy
from html.parser import HTMLParser
from typing import Any

import dspy
import numpy as np
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.exceptions import VariableNotFoundError
from snakepit_bridge.session_context import session_of
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM

TABLE = """\
path                variable  value                version  notes
temperature         t         0.25                       1  uncovered: later
polish.max_tokens   tokens    111                        1  detached, uncovered:
                                                            polish.predict
draft.instructions  prompt    'Answer like a p...        2
draft.top_p         none      0.5                        -  default
k                   key       (secret)                   1"""

BLOCKS = """\
temperature
  variable  t
  value     0.25
  version   1
  notes     uncovered: later
polish.max_tokens
  variable  tokens
  value     111
  version   1
  notes     detached, uncovered:
            polish.predict
draft.instructions
  variable  prompt
  value     'Answer like a pirate, and
            so on.\\nNever <b>stop</b>.'
  version   2
draft.top_p
  variable  none
  value     0.5
  version   -
  notes     default
k
  variable  key
  value     (secret)
  version   1"""


class Cells(HTMLParser):
    """The rows of a table; anything that is no table is noted as foreign."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.foreign: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag not in {"table", "thead", "tbody"} or attrs:
            self.foreign.append(tag)

    def handle_data(self, data: str) -> None:
        self.rows[-1][-1] += data


@pytest.fixture
def program(lm: RecordingLM, session: BlockingContext) -> Any:
    """One row of each sort."""
    session.register_variable("key", "integer", 424242, secret=True)
    session.set_variable("prompt", "Answer like a pirate, and so on.\nNever <b>stop</b>.")
    paths: dict[str, str | sb.Var] = {
        "temperature": "t",
        "polish.max_tokens": "tokens",
        "draft.instructions": "prompt",
        "draft.top_p": sb.Var("none", 0.5),
        "k": "key",
    }
    program: Any = sb.bind(Pair(), paths, session=session)
    program.polish.max_tokens = 7
    program.later = dspy.Predict("question -> answer")
    return program


@pytest.mark.parametrize(("columns", "text"), [("80", TABLE), ("40", BLOCKS)])
def test_the_text_is_exactly_this(program: Any, columns: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert str(sb.effective(program)) == repr(sb.effective(program)) == text


def test_no_line_is_wider_than_the_terminal(program: Any) -> None:
    found = sb.effective(program)
    for width in range(30, 130):
        assert max(map(len, found.text(width).splitlines())) <= width


def test_a_notebook_gets_the_same_rows_with_everything_escaped(program: Any) -> None:
    cells = Cells(sb.effective(program)._repr_html_())
    assert cells.foreign == []
    assert cells.rows == [
        ["path", "variable", "value", "version", "notes"],
        ["temperature", "t", "0.25", "1", "uncovered: later"],
        ["polish.max_tokens", "tokens", "111", "1", "detached, uncovered: polish.predict"],
        ["draft.instructions", "prompt", "'Answer like a pirate, and so on.\\nNever <b>stop</b>.'", "2", ""],
        ["draft.top_p", "none", "0.5", "-", "default"],
        ["k", "key", "(secret)", "1", ""],
    ]


def test_it_is_a_mapping_all_the_same(program: Any) -> None:
    found = sb.effective(program)
    assert found == dict(found) == copy.deepcopy(found)
    assert found["draft.top_p"] == sb.Effective("none", 0.5, None, detached=False)
    assert [row.default for row in found.values()] == [False, False, False, True, False]
    assert found["k"] == sb.Effective("key", 424242, 1, detached=False, secret=True)


def test_nothing_bound_says_so() -> None:
    found = sb.effective(Pair())
    assert found == {}
    assert str(found) == "nothing is bound"
    assert "nothing is bound" in found._repr_html_()


def test_wide_letters_keep_the_columns_aligned(lm: RecordingLM, session: BlockingContext) -> None:
    session.set_variable("prompt", "東京 e\u0301 \x1b[31m")
    program = sb.bind(Pair(), {"draft.instructions": "prompt", "k": "tokens"}, session=session)
    header, first, second = sb.effective(program).text(100).splitlines()
    assert first == "draft.instructions  prompt    '東京 e\u0301 \\x1b[31m'        2"
    assert header.index("version") + len("version") == len(second) == len(first) + 2 - 1


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("list", [{"question": "2+2?", "answer": "four"}], "[{'answer': 'four', 'question': '2+2?'}]"),
        ("string", "x" * 1_000_000, "'" + "x" * 56 + "..."),
        ("bytes", b"\0" * 1_000_000, "b'" + "\\x00" * 13 + "\\x0" + "..."),
        ("tensor", np.zeros((1000, 1000)), "float64[1000, 1000]"),
        ("map", {"a": [[[[[[[]]]]]]]}, "{'a': [[[[[[...]]]]]]}"),
    ],
)
def test_a_value_is_one_short_line(kind: Any, value: Any, shown: str, session: BlockingContext) -> None:
    class Holder(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = None

    session.register_variable("v", kind, value)
    found = sb.effective(sb.bind(Holder(), {"held": "v"}, session=session))
    assert found.text(200).splitlines()[1] == f"held  v         {shown:{max(len(shown), 5)}}        1"


def test_demos_are_shown_as_the_maps_they_were(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("demos", "list", [{"question": "2+2?", "draft": "four"}])
    program = sb.bind(Pair(), {"draft.demos": "demos"}, session=session)
    assert "[{'draft': 'four', 'question': '2+2?'}]" in sb.effective(program).text(200)


def test_a_variable_that_is_gone_or_does_not_fit_has_a_row_too(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "max_tokens": "tokens"}, session=session)
    session.delete_variable("t")
    session.set_variable("tokens", -5)
    with pytest.raises(VariableNotFoundError):
        program(question="why?")
    gone, wrong = sb.effective(program).values()
    assert (type(gone.error), gone.value, gone.version, gone.default) == (VariableNotFoundError, None, None, False)
    assert (type(wrong.error), wrong.value, wrong.version, wrong.default) == (sb.BindingError, None, 2, False)
    assert sb.effective(program).text(100).splitlines() == [
        "path         variable  value  version  notes",
        "temperature  t                      -  VariableNotFoundError",
        "max_tokens   tokens                 2  BindingError",
    ]


def test_inside_a_call_it_is_what_the_call_sees(lm: RecordingLM, session: BlockingContext, other: Any) -> None:
    class Looking(Pair):
        def forward(self, question: str) -> Any:
            other.set_variable("t", 0.75)
            session.get_variable("t")
            return dspy.Prediction(seen=sb.effective(self)["temperature"])

    program = sb.bind(Looking(), {"temperature": "t"}, session=session)
    assert program(question="why?").seen == sb.Effective("t", 0.25, 1, detached=False)
    assert program(question="why?").seen.version == 2


def test_many_uncovered_predictors_are_counted() -> None:
    names = tuple(f"steps[{number}]" for number in range(20))
    row = sb.Effective("t", 0.5, 1, detached=False, uncovered=names)
    assert row.notes == "uncovered: steps[0], steps[1], steps[2] and 17 more"


@pytest.mark.parametrize("when", ["at bind", "registered later", "made secret later"])
def test_no_repr_shows_a_secret(when: str, lm: RecordingLM, session: BlockingContext) -> None:
    hidden = "hunter2 is the word"
    if when != "registered later":
        session.register_variable("key", "string", hidden, secret=when == "at bind")
    program = sb.bind(Pair(), {"draft.instructions": sb.Var("key", default=None)}, session=session)
    if when != "at bind":
        session.register_variable("key", "string", hidden, secret=True, replace=when == "made secret later")
    with sb.snapshot(session) as taken:
        program(question="why?")
        inside = sb.effective(program)
    found = sb.effective(program)
    assert hidden in str(lm.requests[0]["messages"])
    assert found["draft.instructions"].value == inside["draft.instructions"].value == hidden
    told = [found, inside, found["draft.instructions"], taken, taken.variables["key"], found._repr_html_()]
    told += session_of(session).describe(["key"]).values()
    assert hidden not in "".join(f"{one!r} {one}" for one in told)
