"""Saving, loading and pickling bound programs: plain values go out and come in, bindings stay where they are."""

from __future__ import annotations

import inspect
import json
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
from snakepit_bridge.exceptions import BindingError
from tests.dspy.support.programs import KINDS, Kind, Pair
from tests.support.recording_lm import RecordingLM

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
DEMO = dspy.Example(question="2+2?", draft="d", reasoning="r", answer="four")


def load_program(path: Path) -> Any:
    # DSPy 3.1 has no such argument and needs none.
    allow = {"allow_pickle": True} if "allow_pickle" in inspect.signature(dspy.load).parameters else {}
    return dspy.load(str(path), **allow)


def load_state(program: Any, path: Path) -> None:
    allow = {"allow_pickle": True} if "allow_pickle" in inspect.signature(program.load).parameters else {}
    program.load(path, **allow)


def teach(program: Any) -> None:
    """What an optimizer leaves behind: other instructions and a demo, in every predictor."""
    for predictor in program.predictors():
        predictor.signature = predictor.signature.with_instructions("Answer like a poet.")
        predictor.demos = [DEMO]


@every_kind
@pytest.mark.parametrize("name", ["state.json", "state.pkl"])
def test_a_saved_state_has_plain_values_and_loads_under_the_bindings(
    kind: Kind, name: str, lm: RecordingLM, session: BlockingContext, other: BlockingContext, tmp_path: Path
) -> None:
    program = kind.bound(session)
    teach(program)
    program.save(tmp_path / name)
    fresh = kind.bound(session)
    load_state(fresh, tmp_path / name)
    other.set_variable("t", 0.5)
    fresh(question="why?")
    assert {body["temperature"] for body in lm.requests} == {0.5}
    assert all("poet" in str(body["messages"]) and "2+2?" in str(body["messages"]) for body in lm.requests)
    assert fresh.dump_state() == program.dump_state()
    assert b"0.25" not in (tmp_path / name).read_bytes()


@every_kind
def test_a_whole_program_is_saved_as_its_plain_class_and_can_be_bound_again(
    kind: Kind, lm: RecordingLM, session: BlockingContext, tmp_path: Path
) -> None:
    program = kind.bound(session)
    teach(program)
    program.save(tmp_path / "program", save_program=True)
    loaded = load_program(tmp_path / "program")
    assert type(loaded) is kind.plain
    assert sb.bindings(loaded) == {}
    loaded(question="why?")
    assert all("temperature" not in body and "poet" in str(body["messages"]) for body in lm.requests)
    lm.requests.clear()
    sb.bind(loaded, {"temperature": "t"}, session=session)
    loaded(question="why?")
    assert {body["temperature"] for body in lm.requests} == {0.25}


@every_kind
def test_a_pickle_has_neither_session_nor_bindings(kind: Kind, lm: RecordingLM, session: BlockingContext) -> None:
    program = kind.bound(session)
    pickled = cloudpickle.dumps(program)
    assert session.session_id.encode() not in pickled
    loaded = pickle.loads(pickled)
    assert type(loaded) is kind.plain
    assert sb.bindings(loaded) == {}
    assert getattr(loaded, "session_context", None) is None
    assert sb.bindings(program) != {}
    program(question="why?")
    assert {body["temperature"] for body in lm.requests} == {0.25}


def test_a_pickle_keeps_plain_attributes_and_aliases(session: BlockingContext) -> None:
    class Pointing(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.same = self.draft

    program = sb.bind(Pointing(), {"k": "tokens", "draft.temperature": "t"}, session=session)
    plain = pickle.loads(cloudpickle.dumps(program))
    assert plain.k == 3
    assert plain.draft is plain.same
    assert type(plain.draft) is dspy.Predict


def test_a_pickle_loads_where_this_package_is_not(session: BlockingContext, tmp_path: Path) -> None:
    program = sb.bind(dspy.ChainOfThought("question -> answer"), {"temperature": "t"}, session=session)
    (tmp_path / "program.pkl").write_bytes(cloudpickle.dumps(program))
    code = (
        "import sys, pickle; sys.modules['snakepit_bridge'] = None\n"
        "print(type(pickle.load(open('program.pkl', 'rb'))).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ChainOfThought"


def test_a_state_saved_while_bound_loads_into_an_unbound_program_and_back(
    lm: RecordingLM, session: BlockingContext, tmp_path: Path
) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "draft.instructions": "prompt"}, session=session)
    program.save(tmp_path / "state.json")
    assert "pirate" not in (tmp_path / "state.json").read_text()
    unbound = Pair()
    load_state(unbound, tmp_path / "state.json")
    assert unbound.dump_state() == Pair().dump_state()
    load_state(program, tmp_path / "state.json")
    program(question="why?")
    assert "pirate" in str(lm.requests[0]["messages"])
    assert lm.requests[0]["temperature"] == 0.25


def test_a_program_can_be_saved_by_one_of_its_own_calls(
    lm: RecordingLM, session: BlockingContext, tmp_path: Path
) -> None:
    class Saving(Pair):
        def forward(self, question: str) -> Any:
            self.save(tmp_path / "inside.json")
            return super().forward(question)

    program = sb.bind(Saving(), {"draft.instructions": "prompt"}, session=session)
    program(question="why?")
    program.save(tmp_path / "outside.json")
    with sb.snapshot(session):
        program.save(tmp_path / "snapshot.json")
    saved = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("inside", "snapshot", "outside")}
    assert saved["inside"] == saved["snapshot"] == saved["outside"]
    assert "pirate" in str(lm.requests[0]["messages"])


def test_each_candidate_of_a_variable_module_keeps_its_own_state(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext, tmp_path: Path
) -> None:
    def make() -> Any:
        return sb.VariableModule("strategy", "question -> answer", session=session)

    session.register_variable("strategy", "module", "Predict", constraints={"modules": ["Predict", "ChainOfThought"]})
    program = make()
    predict, thought = program.candidates["Predict"], program.candidates["ChainOfThought"].predict
    predict.demos = [dspy.Example(question="a rose?", answer="a flower")]
    thought.signature = thought.signature.with_instructions("Think like a poet.")
    program.save(tmp_path / "state.json")
    loaded = make()
    load_state(loaded, tmp_path / "state.json")
    for twin in (program, loaded, program.deepcopy(), loaded.deepcopy()):
        lm.requests.clear()
        for choice in ("Predict", "ChainOfThought"):
            other.set_variable("strategy", choice)
            twin(question="why?")
        texts = [str(body["messages"]) for body in lm.requests]
        assert ["a flower" in text for text in texts] == [True, False]
        assert ["poet" in text for text in texts] == [False, True]
        assert ["reasoning" in text for text in texts] == [False, True]
    assert [len(each.predictors()[0].demos) for each in (program, program.reset_copy())] == [1, 0]


def test_a_compiled_variable_module_keeps_the_demos_of_the_candidate_that_ran(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext, tmp_path: Path
) -> None:
    session.register_variable("strategy", "module", "Predict", constraints={"modules": ["Predict", "ChainOfThought"]})
    program = sb.VariableModule("strategy", "question -> answer", session=session)
    trainset = [dspy.Example(question=f"{n}?", answer=f"{n}").with_inputs("question") for n in range(3)]
    optimizer = dspy.BootstrapFewShot(metric=lambda *_: True, max_bootstrapped_demos=3, max_labeled_demos=0)
    with pytest.warns(sb.LiveProgramWarning):
        compiled = optimizer.compile(program, trainset=trainset)
    assert {name: len(found.demos) for name, found in compiled.named_predictors()} == {
        "candidates['Predict']": 3,
        "candidates['ChainOfThought'].predict": 0,
    }
    compiled.save(tmp_path / "program", save_program=True)
    loaded = load_program(tmp_path / "program")
    lm.requests.clear()
    compiled(question="why?")
    loaded(question="why?")
    assert all("[[ ## question ## ]]\\n2?" in str(body["messages"]) for body in lm.requests)
    other.set_variable("strategy", "ChainOfThought")
    compiled(question="why?")
    sb.bind(loaded, {"choice": "strategy"}, session=session)(question="why?")
    assert ["reasoning" in str(body["messages"]) for body in lm.requests] == [False, False, True, True]


def test_an_aware_module_that_was_loaded_takes_a_session_and_binds(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext, tmp_path: Path
) -> None:
    program = KINDS["aware"].bound(session)
    program.save(tmp_path / "program", save_program=True)
    loaded = load_program(tmp_path / "program")
    with pytest.raises(BindingError):
        loaded.bind_to_variable_sync("temperature", "t")
    loaded.session_context = other
    loaded.bind_to_variable_sync("temperature", "t")
    session.set_variable("t", 0.5)
    loaded(question="why?")
    assert lm.requests[0]["temperature"] == 0.5
