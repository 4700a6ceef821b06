"""What `package.module:attribute` means to a worker."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from snakepit_bridge import SessionContext
from snakepit_bridge.command_line import target
from snakepit_bridge.exceptions import VariableNotFoundError

MODULE = """
from snakepit_bridge.exceptions import VariableNotFoundError

def double(number):
    return 2 * number

def made():
    return double

def made_with(ctx):
    def told(number):
        return ctx
    return told

def with_default(number=3):
    return number

class Multiplier:
    times = 3
    def __call__(self, number):
        return self.times * number

class Inner:
    tool = Multiplier()

def text():
    return "hello"

def nested():
    return made

async def later():
    return double

def fail():
    raise ValueError("no\\nway")

def leave(ctx):
    raise SystemExit(0)

def unknown(ctx):
    raise VariableNotFoundError("no such variable")

number = 3
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules to be found, as by a process that runs in their directory; forgotten with the test."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "worker_target"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "things.py").write_text(MODULE)
    (package / "broken.py").write_text("import worker_target\n\nworker_target.nothing\n")
    (package / "unparsable.py").write_text("def f(:\n")
    (package / "leaving.py").write_text("raise SystemExit(0)\n")
    (package / "needing.py").write_text("import what_nobody_has\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "worker_target"]:
        monkeypatch.delitem(sys.modules, name)


def made(attribute: str, module: str = "things") -> Any:
    reference = f"worker_target.{module}:{attribute}"
    # Never opened: making it does no I/O.
    return target.made(reference, target.find(reference), SessionContext.connect("127.0.0.1:1"))


def test_a_function_with_arguments_is_served_itself() -> None:
    assert made("double")(4) == 8
    assert made("with_default")(4) == 4
    assert made("Inner.tool")(4) == 12


def test_a_function_without_arguments_or_with_the_context_makes_what_is_served() -> None:
    assert made("made")(4) == 8
    assert isinstance(made("made_with")(4), SessionContext)
    assert made("Multiplier")(4) == 12


@pytest.mark.parametrize(
    ("attribute", "module", "said"),
    [
        ("double", "nothing", "no module 'worker_target.nothing'"),
        ("double", "things.inner", "no module 'worker_target.things.inner'"),
        ("doubl", "things", "'double'"),
        ("Inner.tol", "things", "'tool'"),
        ("number", "things", "a int"),
        ("text", "things", "dspy.Tool"),
        ("nested", "things", "dspy.Tool"),
        ("later", "things", "coroutine"),
        ("fail", "things", "ValueError: no way ("),
        ("leave", "things", "SystemExit: 0"),
        ("program", "broken", "AttributeError"),
        ("program", "unparsable", "SyntaxError"),
        ("program", "leaving", "SystemExit"),
        ("program", "needing", "what_nobody_has"),
    ],
)
def test_what_is_nothing_to_serve_says_so_in_one_line(attribute: str, module: str, said: str) -> None:
    with pytest.raises(target.TargetError) as raised:
        made(attribute, module)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_a_server_refuses_to_a_function_that_makes_a_program_may_be_tried_again() -> None:
    with pytest.raises(VariableNotFoundError):
        made("unknown")


def test_a_function_that_sets_things_up_is_called() -> None:
    target.call("worker_target.things:text")
    with pytest.raises(target.TargetError, match="no way"):
        target.call("worker_target.things:fail")
    with pytest.raises(target.TargetError, match="not a function"):
        target.call("worker_target.things:number")
