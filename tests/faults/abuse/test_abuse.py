"""Whatever is done to a server's connections, it lives, forgets who did it, and serves everybody else meanwhile.

`--hostile 1000000` (or `make hostile`) sends as many frames; the terminal summary says what came of it.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from time import monotonic, sleep

import grpc
import pytest

from snakepit_bridge import LocalServer, SessionContext
from snakepit_bridge._client.grpc_errors import translate
from snakepit_bridge.exceptions import SessionExpiredError
from snakepit_bridge.v1 import session_pb2
from snakepit_bridge.v1.session_pb2_grpc import SessionServiceStub
from tests.faults.abuse import slow
from tests.faults.abuse.attacks import ATTACKS, Target
from tests.faults.abuse.bystander import Bystander
from tests.faults.abuse.process import Process
from tests.support.waiting import PATIENCE

TTL = 5.0
"""Of the attackers' session, in seconds: it outlives that only while somebody watches it."""
GROWTH = 64
"""MiB that the server's memory may have grown by, once each attack was seen."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what the server holds is read from /proc")


def _attack(target: Target, frames: int, process: Process, idle: int) -> dict[str, int]:
    """All attacks, one after the other; how many frames each sent."""
    sent = {}
    for name, (attack, share) in ATTACKS.items():
        sent[name] = attack(target, max(1, frames * share // 1000))
        assert process.alive, f"{name} ended the server"
        # Two of the bystander's connections may be opened anew meanwhile.
        assert process.settles_at(idle + 2) <= idle + 2, f"{name} leaves connections open"
        assert "panicked" not in process.said, name
    return sent


def _expires(address: str, session: str, within: float) -> bool:
    """Whether a session ends by itself."""
    end = monotonic() + within
    with grpc.insecure_channel(address) as channel:
        sessions = SessionServiceStub(channel)
        while monotonic() < end:
            try:
                sessions.GetSession(session_pb2.GetSessionRequest(session_id=session), timeout=PATIENCE)
            except grpc.RpcError as error:
                return isinstance(translate(error, address, 5), SessionExpiredError)
            sleep(0.2)
    return False


def test_abuse_harms_neither_the_server_nor_anybody_else(
    start_server: Callable[..., LocalServer],
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    frames: int = pytestconfig.getoption("--hostile")
    server = start_server()
    process = Process(server.pid)
    victim = f"victim-{secrets.token_hex(4)}"
    with SessionContext.connect(server.address, session_id=victim, ttl=TTL) as ctx:
        ctx.register_variable("n", "integer", 0)
    with SessionContext.connect(server.address, session_id=slow.GREAT) as ctx:
        ctx.register_variable(slow.GREAT, "bytes", bytes(2**20))
    target = Target(server.address, victim)
    with Bystander(server.address, "bystander", victim) as bystander:
        bystander.ready()
        idle = process.descriptors
        _attack(target, 20_000, process, idle)
        before = process.mebibytes
        sent = _attack(target, frames, process, idle)
        after = process.shrinks_to(before + GROWTH)
    assert bystander.wrong == []
    assert after - before <= GROWTH, f"{before:.0f} MiB before, {after:.0f} MiB after"
    assert _expires(server.address, victim, TTL + PATIENCE), "a watch or a worker was left open"
    record_property(
        "abuse",
        f"{sum(sent.values()):,} hostile frames in {len(sent)} kinds of abuse; {bystander.done:,} calls of a bystander "
        f"served and {len(bystander.seen):,} changes watched meanwhile; memory {before:.0f} MiB, then {after:.0f} MiB; "
        f"descriptors {idle}, then {process.descriptors}; {len(process.said):,} bytes logged",
    )
