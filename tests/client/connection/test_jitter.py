"""Waiting for a server draws from no random numbers but the package's own."""

from __future__ import annotations

import random

import pytest

from snakepit_bridge import SessionContext
from snakepit_bridge._client.backoff import jittered
from snakepit_bridge.exceptions import ServerUnavailableError


def test_waiting_for_a_server_leaves_the_random_numbers_of_the_program_alone() -> None:
    before = random.getstate()
    with (
        pytest.raises(ServerUnavailableError),
        SessionContext.connect("127.0.0.1:1", session_id="s", timeout=0.5) as ctx,
    ):
        ctx.get_variable("x")
    assert random.getstate() == before


def test_a_pause_differs_a_little_from_the_one_before() -> None:
    pauses = {jittered(1) for _ in range(100)}
    assert len(pauses) > 90
    assert all(0.8 <= pause <= 1.2 for pause in pauses)
    assert all(jittered(1, most=1.0) <= 1 for _ in range(100))
