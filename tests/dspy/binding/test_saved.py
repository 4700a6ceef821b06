"""Bindings in a file: what is in it, what it refuses, and that it binds as `bind` does."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import ModelNotAllowedError, VariableNotFoundError
from tests.dspy.support.programs import Pair, agent
from tests.support.recording_lm import RecordingLM
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")

TEXT = """\
{
  "snakepit_bindings": 1,
  "bindings": {
    "temperature": "t",
    "k": {
      "variable": "top_k",
      "default": 7
    },
    "draft.instructions": {
      "variable": "prompt",
      "default": "Réponds.",
      "refresh": "step"
    },
    "polish.model": {
      "variable": "which",
      "models": [
        "fast",
        "strong"
      ]
    }
  }
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bindings.json"


@pytest.fixture
def models(lm: RecordingLM) -> dict[str, Any]:
    return {"fast": lm.lm("openai/fast"), "strong": lm.lm("openai/strong")}


@pytest.fixture
def program(session: BlockingContext, models: dict[str, Any]) -> Any:
    session.register_variable("which", "string", "fast")
    program = sb.bind(Pair(), {"temperature": "t", "k": sb.Var("top_k", 7)}, session=session)
    sb.bind(program, {"draft.instructions": sb.Var("prompt", "Réponds.")}, session=session, refresh="step")
    return sb.bind(program, {"polish.model": "which"}, session=session, models=models)


def write(path: Path, bindings: Any) -> None:
    path.write_text(json.dumps({"snakepit_bindings": 1, "bindings": bindings}))


def test_the_file_is_exactly_this(program: Any, path: Path) -> None:
    sb.save_bindings(program, path)
    assert path.read_text(encoding="utf-8") == TEXT


def test_a_loaded_program_sends_what_the_saved_one_does(
    program: Any, path: Path, lm: RecordingLM, models: dict[str, Any], session: BlockingContext, address: str
) -> None:
    sb.save_bindings(program, path)
    again = sb.load_bindings(Pair(), path, session=session, models=models)
    later = asyncio.run(sb.load_bindings_async(Pair(), str(path), session=session, models=models))
    for each in (program, again, later):
        lm.requests.clear()
        assert each(question="why?").k == 7
        first, second = lm.requests
        assert (first["model"], second["model"]) == ("gpt-4o-mini", "fast")
        assert first["temperature"] == second["temperature"] == 0.25
        assert "pirate" in str(first["messages"])
        assert "pirate" not in str(second["messages"])
        sb.save_bindings(each, path)
        assert path.read_text(encoding="utf-8") == TEXT


def test_the_file_binds_against_another_session(
    program: Any, path: Path, lm: RecordingLM, models: dict[str, Any], address: str, session: BlockingContext
) -> None:
    sb.save_bindings(program, path)
    assert session.session_id not in path.read_text(encoding="utf-8")
    assert address not in path.read_text(encoding="utf-8")
    with SessionContext.connect(address) as elsewhere:
        elsewhere.register_variable("t", "float", 0.75)
        elsewhere.register_variable("which", "string", "strong")
        sb.load_bindings(Pair(), path, session=elsewhere, models=models)(question="why?")
    assert [(body["temperature"], body["model"]) for body in lm.requests] == [(0.75, "gpt-4o-mini"), (0.75, "strong")]
    assert "Réponds." in str(lm.requests[0]["messages"])


def test_each_binding_keeps_its_own_refresh(
    path: Path, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    paths: dict[str, str | sb.Var] = {"polish.temperature": sb.Var("t", refresh="step"), "k": "tokens"}
    sb.save_bindings(sb.bind(Pair(), paths, session=session), path)
    assert json.loads(path.read_text())["bindings"] == {
        "polish.temperature": {"variable": "t", "refresh": "step"},
        "k": "tokens",
    }

    def change(_body: dict[str, Any]) -> Any:
        other.set_variables({"t": 0.5, "tokens": 7})
        return {"draft": "d"} if len(lm.requests) == 1 else {"reasoning": "r", "answer": "a"}

    lm.reply(change)
    assert sb.load_bindings(Pair(), path, session=session)(question="why?").k == 111
    assert lm.requests[1]["temperature"] == 0.5


def test_loading_costs_one_rpc_and_binds_all_or_nothing(
    path: Path, proxy: WireProxy, lm: RecordingLM, session: BlockingContext
) -> None:
    with SessionContext.connect(proxy.address, session_id=session.session_id) as context:
        write(path, {"temperature": "t", "k": {"variable": "none"}})
        program = Pair()
        with pytest.raises(VariableNotFoundError):
            sb.load_bindings(program, path, session=context)
        assert type(program) is Pair
        assert sb.bindings(program) == {}
        write(path, {"temperature": "t", "k": {"variable": "none", "default": 4}, "draft.max_tokens": "tokens"})
        start = proxy.count()
        sb.load_bindings(program, path, session=context)
        assert proxy.rpcs()[start:] == ["GetVariables"]
    assert list(sb.bindings(program)) == ["temperature", "k", "draft.max_tokens"]


def test_a_path_that_is_bound_already_is_bound_anew_and_others_stay(
    path: Path, lm: RecordingLM, session: BlockingContext
) -> None:
    session.register_variable("u", "float", 1.5)
    write(path, {"temperature": "u"})
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    sb.load_bindings(program, path, session=session)
    assert sb.bindings(program) == {"temperature": "u", "k": "tokens"}


def test_an_aware_module_needs_no_session_argument(path: Path, lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.VariableAwarePredict("question -> answer", session_context=session)
    program.bind_to_variable_sync("temperature", "t")
    sb.save_bindings(program, path)
    loaded = sb.VariableAwarePredict("question -> answer", session_context=session)
    sb.load_bindings(loaded, path)(question="why?")
    assert lm.requests[0]["temperature"] == 0.25


def test_every_spelling_of_a_path_comes_back(path: Path, session: BlockingContext) -> None:
    class Deep(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = 0.5
            self.steps = [dspy.Predict("question -> answer")]
            self.named = {name: dspy.Predict("question -> answer") for name in ("x", "it's", "a\\b", 'say "it\'s"')}

    paths = ["lm.temperature", "self.temperature", "steps[0].top_p", "named['x'].top_p", 'named["it\'s"].top_p']
    paths += ["named['a\\b'].top_p", 'named["say "it\'s""].top_p', "self.steps[0].lm.top_k"]
    session.register_variable("whole", "integer", 1)
    program = sb.bind(Deep(), {name: "whole" if name.endswith("k") else "t" for name in paths}, session=session)
    sb.save_bindings(program, path)
    assert sb.bindings(sb.load_bindings(Deep(), path, session=session)) == sb.bindings(program)
    assert len(sb.bindings(program)) == len(paths)


def test_a_detached_path_is_left_out(path: Path, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    program.k = 4
    sb.save_bindings(program, path)
    assert json.loads(path.read_text())["bindings"] == {"temperature": "t"}


def test_what_is_bound_on_a_part_is_said_to_be_left_out(
    path: Path, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    program = sb.bind(Pair(), {"k": "tokens"}, session=session)
    sb.bind(program.draft, {"temperature": "t"}, session=session)
    sb.save_bindings(program, path)
    assert json.loads(path.read_text())["bindings"] == {"k": "tokens"}
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("snakepit_bridge.dspy_integration.saved", "WARNING")
    ]


def test_nothing_bound_is_a_file_too(path: Path, session: BlockingContext) -> None:
    sb.save_bindings(Pair(), path)
    program = sb.load_bindings(Pair(), path, session=session)
    assert sb.bindings(program) == {}
    assert type(program) is Pair


@pytest.mark.parametrize(
    "default", [None, True, 0, 2**63, -0.5, "ü\n\u2028", [], [1, [None]], {"a": {"b": [1.5]}}], ids=repr
)
def test_a_plain_default_comes_back_as_it_was(default: Any, path: Path, session: BlockingContext) -> None:
    class Holder(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = None

    sb.save_bindings(sb.bind(Holder(), {"held": sb.Var("none", default)}, session=session), path)
    loaded = sb.load_bindings(Holder(), path, session=session)
    found = sb.effective(loaded)["held"].value
    assert (type(found), found) == (type(default), default)


def test_a_table_may_have_more_names_and_is_refused_where_nothing_wants_it(
    program: Any, path: Path, lm: RecordingLM, session: BlockingContext, models: dict[str, Any]
) -> None:
    sb.save_bindings(program, path)
    loaded = sb.load_bindings(Pair(), path, session=session, models={**models, "turbo": lm.lm("openai/turbo")})
    session.set_variable("which", "turbo")
    loaded(question="why?")
    assert lm.requests[1]["model"] == "turbo"
    session.set_variable("which", "openai/gpt-4o")
    with pytest.raises(ModelNotAllowedError):
        sb.load_bindings(Pair(), path, session=session, models=models)
    write(path, {"temperature": "t"})
    with pytest.raises(sb.BindingError):
        sb.load_bindings(Pair(), path, session=session, models=models)


def test_a_file_edited_on_another_system_is_read(path: Path, lm: RecordingLM, session: BlockingContext) -> None:
    path.write_bytes(b'\xef\xbb\xbf{\r\n"snakepit_bindings": 1,\r\n"bindings": {"k": "tokens"}}\r\n')
    assert sb.load_bindings(Pair(), path, session=session)(question="why?").k == 111


def test_a_file_keeps_its_mode_and_a_link_stays_one(path: Path, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    sb.save_bindings(program, path)
    fresh = path.with_name("fresh")
    fresh.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(fresh.stat().st_mode)
    path.chmod(0o640)
    link = path.with_name("link.json")
    link.symlink_to(path.name)
    sb.save_bindings(sb.bind(program, {"k": "tokens"}, session=session), link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert set(json.loads(path.read_text())["bindings"]) == {"temperature", "k"}


def test_an_agents_bindings_come_back(path: Path, session: BlockingContext) -> None:
    paths = {"max_iters": "tokens", "instructions": "prompt", "react.temperature": "t", "model": "model"}
    sb.save_bindings(sb.bind(agent(), paths, session=session, refresh="step"), path)
    loaded = sb.load_bindings(agent(), path, session=session)
    assert sb.bindings(loaded) == paths
    assert loaded.max_iters == 111


def test_the_names_of_all_tables_are_noted_and_asked_for(session: BlockingContext, tmp_path: Path) -> None:
    session.register_variable("toolset", "list", ["population"])
    session.register_variable("how", "string", "plain")

    def weather(city: str) -> str:
        """The weather in a city."""
        return city

    tables: sb.Tables = {"tools": [weather], "adapters": {"plain": dspy.ChatAdapter()}}
    program = sb.bind(agent(), {"tools": "toolset", "adapter": "how"}, session=session, **tables)
    sb.save_bindings(program, tmp_path / "agent.json")
    assert json.loads((tmp_path / "agent.json").read_text())["bindings"] == {
        "tools": {"variable": "toolset", "tools": ["weather"]},
        "adapter": {"variable": "how", "adapters": ["plain"]},
    }
    with pytest.raises(sb.BindingError) as refused:
        sb.load_bindings(agent(), tmp_path / "agent.json", session=session, tools=[weather])
    assert refused.value.facts["missing"] == "plain"
    loaded = sb.load_bindings(agent(), tmp_path / "agent.json", session=session, **tables)
    assert sb.bindings(loaded) == sb.bindings(program)
