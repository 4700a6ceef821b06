"""Bindings in a file: what can be neither saved nor loaded, and that nothing is half done then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import Pair


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bindings.json"


def write(path: Path, bindings: Any) -> None:
    path.write_text(json.dumps({"snakepit_bindings": 1, "bindings": bindings}))


class Holder(dspy.Module):
    """Takes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.held = None


@pytest.mark.parametrize(
    "default",
    [(1, 2), {1: "a"}, {1, 2}, b"x", float("nan"), float("inf"), "\ud800", object(), [dspy.Example(a=1)], [(1,)]],
    ids=lambda value: type(value).__name__,
)
def test_another_default_is_refused_and_the_old_file_stays(default: Any, path: Path, session: BlockingContext) -> None:
    path.write_text("before")
    program = sb.bind(Holder(), {"held": sb.Var("none", default)}, session=session)
    with pytest.raises(sb.BindingError) as refused:
        sb.save_bindings(program, path)
    assert refused.value.facts == {"path": "held", "variable": "none"}
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]


def test_the_default_of_a_secret_is_not_written(path: Path, session: BlockingContext) -> None:
    session.register_variable("key", "string", "hunter2", secret=True)
    program = sb.bind(Pair(), {"draft.instructions": sb.Var("key", default="hunter1")}, session=session)
    with pytest.raises(sb.BindingError) as refused:
        sb.save_bindings(program, path)
    assert "hunter" not in str(refused.value)
    assert not path.exists()
    sb.bind(program, {"draft.instructions": "key"}, session=session)
    sb.save_bindings(program, path)
    assert "hunter" not in path.read_text()


@pytest.mark.parametrize(
    ("given", "missing"), [(None, "fast,strong"), ({}, "fast,strong"), ({"fast": None, "x": None}, "strong")]
)
def test_the_names_that_a_table_lacks_are_named(given: Any, missing: str, path: Path, session: BlockingContext) -> None:
    write(path, {"polish.model": {"variable": "model", "models": ["fast", "strong"]}})
    fresh = Pair()
    with pytest.raises(sb.BindingError) as refused:
        sb.load_bindings(fresh, path, session=session, models=given)
    assert refused.value.facts == {"file": str(path), "table": "models", "missing": missing}
    assert type(fresh) is Pair


MALFORMED = {
    "empty": "",
    "no JSON": "{",
    "not UTF-8": b"\xff\xfe{}",
    "nested deep": '{"snakepit_bindings": 1, "bindings": ' + "[" * 100_000,
    "another file": '{"draft": {"demos": []}}',
    "no object": "[1]",
    "a later version": '{"snakepit_bindings": 2, "bindings": {}}',
    "no version": '{"snakepit_bindings": "1", "bindings": {}}',
    "true": '{"snakepit_bindings": true, "bindings": {}}',
    "no bindings": '{"snakepit_bindings": 1}',
    "a list of bindings": '{"snakepit_bindings": 1, "bindings": ["temperature"]}',
    "an unknown part": '{"snakepit_bindings": 1, "bindings": {}, "session": "x"}',
    "a path twice": '{"snakepit_bindings": 1, "bindings": {"k": "tokens", "k": "t"}}',
    "NaN": '{"snakepit_bindings": 1, "bindings": {"k": {"variable": "tokens", "default": NaN}}}',
}
WRONG = {
    "a number": 5,
    "null": None,
    "no variable": {"default": 1},
    "a variable that is no name": {"variable": 5},
    "a misspelled part": {"variable": "tokens", "defualt": 1},
    "another refresh": {"variable": "tokens", "refresh": "never"},
    "models that are no list": {"variable": "tokens", "models": "fast"},
    "models that are no names": {"variable": "tokens", "models": [1]},
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(content: str | bytes, path: Path, session: BlockingContext) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    program = Pair()
    with pytest.raises(sb.BindingError) as refused:
        sb.load_bindings(program, path, session=session)
    assert refused.value.facts == {"file": str(path)}
    assert str(path) in str(refused.value)
    assert type(program) is Pair


@pytest.mark.parametrize("entry", WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_refused_and_nothing_is_bound(entry: Any, path: Path, session: BlockingContext) -> None:
    write(path, {"temperature": "t", "k": entry})
    program = Pair()
    with pytest.raises(sb.BindingError) as refused:
        sb.load_bindings(program, path, session=session)
    assert refused.value.facts["file"] == str(path)
    assert type(program) is Pair


def test_a_path_that_the_program_lacks_is_refused_as_by_bind(path: Path, session: BlockingContext) -> None:
    write(path, {"temperature": "t", "darft.top_p": "t"})
    program = Pair()
    with pytest.raises(sb.BindingError) as refused:
        sb.load_bindings(program, path, session=session)
    assert refused.value.facts["closest"] == "draft"
    assert type(program) is Pair


def test_only_modules_have_bindings(path: Path, session: BlockingContext) -> None:
    write(path, {"k": "tokens"})
    with pytest.raises(sb.BindingError):
        sb.save_bindings(object(), path)
    with pytest.raises(sb.BindingError):
        sb.load_bindings(object(), path, session=session)
    with pytest.raises(FileNotFoundError):
        sb.load_bindings(Pair(), path.with_name("none.json"), session=session)


def test_a_failed_write_leaves_the_file_as_it_was(
    path: Path, session: BlockingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "no space left on device")

    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    path.write_text("before")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            sb.save_bindings(program, path)
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]
