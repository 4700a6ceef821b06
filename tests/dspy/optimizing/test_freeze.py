"""A frozen program is a plain one that has what the variables had."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import ServerUnavailableError, VariableNotFoundError
from tests.dspy.support.programs import AforwardOnly, ForwardOnly, Pair, agent, as_agent
from tests.support.recording_lm import RecordingLM
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")

BINDINGS = {
    "temperature": "t",
    "polish.temperature": "hot",
    "max_tokens": "tokens",
    "draft.instructions": "prompt",
    "draft.demos": "demos",
    "polish.model": "model",
    "k": "tokens",
}


@pytest.fixture
def session(session: BlockingContext) -> BlockingContext:
    """The session with demos, and a second temperature."""
    session.register_variable("demos", "list", [{"question": "2+2?", "draft": "four"}])
    session.register_variable("hot", "float", 1.25)
    return session


def change_all(other: BlockingContext) -> None:
    other.set_variables(
        {"t": 0.5, "hot": 0.75, "tokens": 5, "prompt": "Answer like a poet.", "demos": [], "model": "gpt-4o-mini"}
    )


def requests(lm: RecordingLM, program: Any) -> list[dict[str, Any]]:
    """What a call sends."""
    start = len(lm.requests)
    program(question="why?")
    return lm.requests[start:]


def test_a_frozen_program_sends_what_a_call_would_have_sent_when_it_was_frozen(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    lm.reply({"draft": "d", "reasoning": "r", "answer": "a"})
    program = sb.bind(Pair(), BINDINGS, session=session)
    plain = sb.freeze(program)
    expected = requests(lm, program)
    assert [body["temperature"] for body in expected] == [0.25, 1.25]
    assert "pirate" in str(expected[0])
    assert "four" in str(expected[0])
    change_all(other)
    assert requests(lm, plain) == expected
    assert plain.k == 111
    assert [body["temperature"] for body in requests(lm, program)] == [0.5, 0.75]


async def test_a_frozen_program_can_be_awaited(lm: RecordingLM, session: BlockingContext) -> None:
    plain = await sb.freeze_async(
        sb.bind(Pair(), {"temperature": "t", "draft.instructions": "prompt"}, session=session)
    )
    await plain.acall(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.25]
    assert "pirate" in str(lm.requests[0])


def test_freezing_leaves_the_program_live(lm: RecordingLM, session: BlockingContext, other: BlockingContext) -> None:
    program = sb.bind(Pair(), BINDINGS, session=session)
    plain = sb.freeze(program)
    plain.draft.demos.append(dspy.Example(question="3+3?", draft="six"))
    plain.polish.predict.config["temperature"] = 0.0
    change_all(other)
    first, second = requests(lm, program)
    assert (first["temperature"], second["temperature"], second["model"]) == (0.5, 0.75, "gpt-4o-mini")
    assert "six" not in str(first)
    assert "poet" in str(first)
    assert sb.bindings(program) == BINDINGS
    assert not any(found.detached for found in sb.effective(program).values())


def test_a_frozen_program_is_of_the_plain_classes_and_bound_to_nothing(session: BlockingContext) -> None:
    plain = sb.freeze(sb.bind(Pair(), BINDINGS, session=session))
    assert type(plain) is Pair
    assert type(plain.draft) is dspy.Predict
    assert type(plain.polish) is dspy.ChainOfThought
    assert sb.bindings(plain) == {}
    assert [name for name, _ in plain.named_parameters()] == ["draft", "polish.predict"]


def test_a_frozen_pickle_loads_where_this_package_is_not(session: BlockingContext, tmp_path: Path) -> None:
    program = sb.VariableAwareChainOfThought("question -> answer", session_context=session)
    program.bind_to_variable_sync("temperature", "t")
    program.bind_to_variable_sync("instructions", "prompt")
    (tmp_path / "program.pkl").write_bytes(cloudpickle.dumps(sb.freeze(program)))
    code = (
        "import sys, pickle; sys.modules['snakepit_bridge'] = None\n"
        "plain = pickle.load(open('program.pkl', 'rb'))\n"
        "print(type(plain).__name__, plain.predict.config, plain.predict.signature.instructions)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ChainOfThought {'temperature': 0.25} Answer like a pirate."


def test_a_frozen_program_is_saved_and_loaded_by_dspy_alone(
    lm: RecordingLM, session: BlockingContext, tmp_path: Path
) -> None:
    plain = sb.freeze(sb.bind(Pair(), {"draft.instructions": "prompt", "draft.demos": "demos"}, session=session))
    plain.save(tmp_path / "state.json")
    plain.save(tmp_path / "program", save_program=True)
    loaded = Pair()
    loaded.load(tmp_path / "state.json")
    lm.reply({"draft": "d", "reasoning": "r", "answer": "a"})
    expected = requests(lm, plain)
    assert requests(lm, loaded) == expected
    assert requests(lm, dspy.load(str(tmp_path / "program"), allow_pickle=True)) == expected
    assert "pirate" in str(expected[0])


@pytest.mark.filterwarnings("ignore:ProgramOfThought:DeprecationWarning")
@pytest.mark.parametrize("name", ["Predict", "ChainOfThought", "ReAct", "ProgramOfThought"])
def test_a_variable_aware_module_freezes_to_the_class_of_dspy(name: str, session: BlockingContext) -> None:
    if not hasattr(dspy, name):
        pytest.skip("this DSPy does not have it")
    arguments: dict[str, Any] = {"tools": []} if name == "ReAct" else {}
    aware = getattr(sb, f"VariableAware{name}")("question -> answer", session_context=session, **arguments)
    aware.bind_to_variable_sync("temperature", "t")
    plain = sb.freeze(aware)
    assert type(plain) is getattr(dspy, name)
    assert {type(predictor) for predictor in plain.predictors()} == {dspy.Predict}
    assert {predictor.config["temperature"] for predictor in plain.predictors()} == {0.25}
    assert type(aware) is getattr(sb, f"VariableAware{name}")


def test_a_module_with_the_mixin_keeps_its_class_and_loses_its_session(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    class Mine(sb.VariableAwareMixin, dspy.Module):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            return self.ask(question=question)

    mine = Mine(session_context=session)
    mine.bind_to_variable_sync("temperature", "t")
    plain = sb.freeze(mine)
    other.set_variable("t", 0.5)
    plain(question="why?")
    assert type(plain) is Mine
    assert plain.session_context is None
    assert plain.get_bindings() == {}
    assert lm.requests[0]["temperature"] == 0.25


def test_a_module_that_follows_a_variable_stays_with_its_choice(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    session.register_variable("strategy", "module", "Predict", constraints={"modules": ["Predict", "ChainOfThought"]})
    live = sb.VariableModule("strategy", "question -> answer", session=session)
    plain = sb.freeze(live)
    other.set_variable("strategy", "ChainOfThought")
    plain(question="why?")
    live(question="why?")
    assert ["reasoning" in str(body["messages"][-1]) for body in lm.requests] == [False, True]
    assert [name for name, _ in plain.named_predictors()] == [name for name, _ in live.named_predictors()]


def test_what_an_agent_is_told_is_frozen_with_what_dspy_wrote_around_it(
    lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(as_agent)
    live = sb.bind(agent(), {"instructions": "prompt", "max_iters": "tokens"}, session=session)
    plain = sb.freeze(live)
    assert requests(lm, plain) == requests(lm, live)
    assert "pirate" in str(lm.requests[0])
    assert "You are an Agent." in str(lm.requests[0])
    assert plain.max_iters == 111


def test_freezing_keeps_one_predictor_under_two_names_one(session: BlockingContext) -> None:
    class Aliased(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = dspy.Predict("question -> answer")
            self.same = self.one

    plain = sb.freeze(sb.bind(Aliased(), {"one.temperature": "t"}, session=session))
    assert plain.one is plain.same
    assert plain.same.config == {"temperature": 0.25}


@pytest.mark.parametrize("program", [ForwardOnly, AforwardOnly])
def test_programs_of_every_make_can_be_frozen(program: Any, session: BlockingContext) -> None:
    plain = sb.freeze(sb.bind(program(), {"temperature": "t"}, session=session))
    assert type(plain) is program
    assert plain.ask.config == {"temperature": 0.25}


def test_a_program_that_cannot_be_copied_whole_is_frozen_all_the_same(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    class Locked(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    plain = sb.freeze(sb.bind(Locked(), BINDINGS, session=session))
    change_all(other)
    assert [body["temperature"] for body in requests(lm, plain)] == [0.25, 1.25]
    assert type(plain) is Locked
    assert type(plain.draft) is dspy.Predict
    assert plain.k == 111


def test_a_program_of_bound_parts_freezes_them(lm: RecordingLM, session: BlockingContext) -> None:
    program = Pair()
    sb.bind(program.draft, {"temperature": "t"}, session=session)
    sb.bind(program.polish, {"temperature": "hot"}, session=session)
    plain = sb.freeze(program)
    assert [body["temperature"] for body in requests(lm, plain)] == [0.25, 1.25]
    assert type(plain.draft) is dspy.Predict


def test_what_is_bound_to_nothing_freezes_to_a_copy(session: BlockingContext) -> None:
    program = Pair()
    plain = sb.freeze(program)
    assert type(plain) is Pair
    assert plain is not program
    with pytest.raises(sb.BindingError):
        sb.freeze("no program")


def test_a_variable_of_nothing_leaves_the_parameter_out_and_the_instructions_alone(
    lm: RecordingLM, session: BlockingContext
) -> None:
    session.register_variable("nothing", "float", None, nullable=True)
    session.register_variable("silence", "string", None, nullable=True)
    program = dspy.Predict("question -> answer", temperature=0.9)
    live = sb.bind(program, {"temperature": "nothing", "instructions": "silence"}, session=session)
    plain = sb.freeze(live)
    lm.reply({"answer": "a"})
    assert requests(lm, plain) == requests(lm, live)
    assert "temperature" not in lm.requests[0]


def test_the_lms_of_a_table_are_frozen_as_one_object_without_their_history(
    lm: RecordingLM, session: BlockingContext
) -> None:
    session.set_variable("model", "good")
    table = {"fast": lm.lm("openai/small"), "good": lm.lm("openai/large", api_key="good-key")}
    live = sb.bind(Pair(), {"model": "model"}, session=session, models=table)
    live(question="why?")
    plain = sb.freeze(live)
    assert plain.get_lm().history == []
    assert plain.get_lm() is not table["good"]
    session.set_variable("model", "fast")
    assert {body["model"] for body in requests(lm, plain)} == {"large"}
    assert {headers["authorization"] for headers in lm.headers} == {"Bearer good-key"}
    assert len(table["good"].history) == 2


def test_an_lm_in_an_attribute_is_frozen_without_its_history(lm: RecordingLM, session: BlockingContext) -> None:
    class Judged(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.judge = lm.lm("openai/judge")

        def forward(self, question: str) -> Any:
            with dspy.context(lm=self.judge):
                return self.draft(question=question)

    session.set_variable("model", "strict")
    table = {"strict": lm.lm("openai/strict"), "lax": lm.lm("openai/lax")}
    live = sb.bind(Judged(), {"judge": "model"}, session=session, models=table)
    live(question="why?")
    plain = sb.freeze(live)
    session.set_variable("model", "lax")
    plain(question="why?")
    assert [body["model"] for body in lm.requests] == ["strict", "strict"]
    assert (len(plain.judge.history), len(table["strict"].history)) == (1, 1)


def test_a_model_that_is_the_default_lms_stays_with_the_default_lm(lm: RecordingLM, session: BlockingContext) -> None:
    session.set_variable("model", "gpt-4o-mini")
    plain = sb.freeze(sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session))
    assert plain.lm is None
    own = dspy.Predict("question -> answer")
    own.set_lm(lm.lm("openai/other"))
    table = {"default": dspy.settings.lm}
    session.set_variable("model", "default")
    assert sb.freeze(sb.bind(own, {"model": "model"}, session=session, models=table)).lm.model == "openai/gpt-4o-mini"


def test_freezing_costs_one_rpc_and_none_inside_a_snapshot(
    proxy: WireProxy, session_id: str, session: BlockingContext
) -> None:
    with SessionContext.connect(proxy.address, session_id=session_id) as ctx:
        program = sb.bind(Pair(), BINDINGS, session=ctx)
        start = proxy.count()
        sb.freeze(program)
        assert proxy.rpcs()[start:] == ["SyncVariables"]
        with sb.snapshot(ctx):
            session.set_variable("t", 0.5)
            start = proxy.count()
            plain = sb.freeze(program)
        assert proxy.rpcs()[start:] == []
        assert plain.draft.config["temperature"] == 0.25
        assert sb.freeze(program).draft.config["temperature"] == 0.5


def test_a_variable_that_is_gone_cannot_be_frozen_unless_there_is_a_default(
    session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    lenient = sb.bind(Pair(), {"temperature": sb.Var("t", default=0.125)}, session=session)
    other.delete_variable("t")
    with pytest.raises(VariableNotFoundError) as caught:
        sb.freeze(program)
    assert caught.value.facts["path"] == "temperature"
    assert sb.freeze(lenient).draft.config == {"temperature": 0.125}


def test_a_value_that_a_call_would_refuse_cannot_be_frozen(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"draft.demos": "demos", "draft.model": "model"}, session=session)
    other.set_variable("model", "anthropic/claude-3")
    with pytest.raises(sb.ModelNotAllowedError):
        sb.freeze(program)
    other.set_variables({"model": "gpt-4o", "demos": [{"nothing": "known"}]})
    with pytest.raises(sb.BindingError):
        sb.freeze(program)


def test_what_was_assigned_is_frozen_as_it_was_assigned(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    program.draft.config = {"temperature": 1.5}
    program.k = 4
    plain = sb.freeze(program)
    assert [body["temperature"] for body in requests(lm, plain)] == [1.5, 0.25]
    assert plain.k == 4


def test_nothing_is_frozen_while_the_server_is_away_for_too_long(start_server: Any) -> None:
    server = start_server()
    with SessionContext.connect(server.address, max_staleness=0.0) as ctx:
        ctx.register_variable("t", "float", 0.25)
        program = sb.bind(Pair(), {"temperature": "t"}, session=ctx)
        server.close()
        with pytest.raises(ServerUnavailableError):
            sb.freeze(program)
