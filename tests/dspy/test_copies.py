"""Copying, saving and pickling bound programs."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.programs import Pair
from tests.recording_lm import RecordingLM


class Aliased(dspy.Module):
    """One predictor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = dspy.Predict("question -> answer", max_tokens=50)
        self.same = self.one

    def forward(self, question: str) -> Any:
        return self.same(question=question)


@pytest.mark.parametrize(
    "copied", [lambda program: program.deepcopy(), copy.deepcopy, copy.copy, lambda p: p.reset_copy()]
)
def test_a_copy_follows_the_same_variables(
    copied: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Aliased(), {"one.temperature": "t"}, session=session)
    twin = copied(program)
    other.set_variable("t", 0.5)
    twin(question="why?")
    assert lm.requests[0]["temperature"] == 0.5
    assert twin is not program
    assert twin.one is twin.same
    assert sb.bindings(twin) == {"one.temperature": "t"}


def test_a_copy_is_independent(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    twin = program.deepcopy()
    sb.unbind(program)
    twin.k = 1
    assert twin(question="why?").k == 1
    assert program(question="why?").k == 3
    assert [body.get("temperature") for body in lm.requests] == [0.25, 0.25, None, None]
    assert type(program) is Pair
    assert type(program.draft) is dspy.Predict


def test_a_part_of_a_program_can_be_copied_and_called_alone(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    copy.deepcopy(program.polish)(question="why?", draft="d")
    assert lm.requests[0]["temperature"] == 0.25


def test_a_pickle_is_one_of_the_plain_class(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    plain = pickle.loads(cloudpickle.dumps(program))
    assert type(plain) is Pair
    assert type(plain.draft) is dspy.Predict
    assert plain.k == 3
    plain(question="why?")
    assert "temperature" not in lm.requests[0]


def test_a_pickle_loads_where_this_package_is_not(session: BlockingContext, tmp_path: Path) -> None:
    program = sb.bind(dspy.ChainOfThought("question -> answer"), {"temperature": "t"}, session=session)
    (tmp_path / "program.pkl").write_bytes(cloudpickle.dumps(program))
    code = (
        "import sys, pickle; sys.modules['snakepit_bridge'] = None\n"
        "print(type(pickle.load(open('program.pkl', 'rb'))).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ChainOfThought"


def test_saving_and_loading_see_plain_values_and_keep_the_binding(
    lm: RecordingLM, session: BlockingContext, tmp_path: Path
) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "draft.instructions": "prompt"}, session=session)
    program.save(tmp_path / "state.json")
    assert "pirate" not in (tmp_path / "state.json").read_text()
    program.load(tmp_path / "state.json")
    program(question="why?")
    assert "pirate" in str(lm.requests[0]["messages"])
    assert lm.requests[0]["temperature"] == 0.25
    program.save(tmp_path / "program", save_program=True)
    assert type(dspy.load(str(tmp_path / "program"), allow_pickle=True)) is Pair
