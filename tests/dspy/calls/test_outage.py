"""The server goes away before, between and in the middle of forwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import LocalServer, SessionContext
from snakepit_bridge.exceptions import ServerUnavailableError
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM

Start = Callable[..., LocalServer]


@pytest.fixture(params=["latest", "streamed"])
def freshness(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_server_lost_before_the_first_forward_is_an_error_and_no_request(
    start_server: Start, lm: RecordingLM, freshness: Any
) -> None:
    server = start_server()
    with SessionContext.connect(server.address, freshness=freshness) as session:
        session.register_variable("t", "float", 0.5)
        program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
        server.close()
        with pytest.raises(ServerUnavailableError):
            program(question="why?")
    assert lm.requests == []


def test_a_server_lost_before_the_first_forward_leaves_declared_defaults(start_server: Start, lm: RecordingLM) -> None:
    server = start_server()
    with SessionContext.connect(server.address) as session:
        program = sb.bind(dspy.Predict("question -> answer"), {"temperature": sb.Var("t", 0.125)}, session=session)
        server.close()
        answer = program(question="why?")
    assert lm.requests[0]["temperature"] == 0.125
    assert sb.revision_of(answer) is None


def test_a_server_lost_between_forwards_leaves_the_last_values(
    start_server: Start, lm: RecordingLM, freshness: Any
) -> None:
    server = start_server()
    with SessionContext.connect(server.address, freshness=freshness) as session:
        session.register_variable("t", "float", 0.5)
        program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
        program(question="why?")
        server.close()
        program(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.5, 0.5]


def test_no_staleness_allowed_is_an_error_at_once(start_server: Start, lm: RecordingLM) -> None:
    server = start_server()
    with SessionContext.connect(server.address, max_staleness=0) as session:
        session.register_variable("t", "float", 0.5)
        program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
        program(question="why?")
        server.close()
        with pytest.raises(ServerUnavailableError):
            program(question="why?")
    assert len(lm.requests) == 1


def test_a_server_lost_in_the_middle_of_a_forward_is_not_noticed_by_it(
    start_server: Start, lm: RecordingLM, freshness: Any
) -> None:
    server = start_server()
    with SessionContext.connect(server.address, freshness=freshness, max_staleness=0) as session:
        session.register_variable("t", "float", 0.5)
        program = sb.bind(Pair(), {"temperature": "t"}, session=session)

        def answer(body: dict[str, Any]) -> dict[str, Any]:
            server.close()
            return {"draft": "d"} if len(lm.requests) == 1 else {"reasoning": "r", "answer": "a"}

        lm.reply(answer)
        assert program(question="why?").answer == "a"
    assert [body["temperature"] for body in lm.requests] == [0.5, 0.5]
