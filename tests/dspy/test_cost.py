"""What a call costs on the wire, counted there."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import SessionContext
from tests.wire_proxy import WireProxy


class Silent(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        for number in range(12):
            setattr(self, f"a{number}", 0)

    def forward(self) -> Any:
        return dspy.Prediction(got=[getattr(self, f"a{number}") for number in range(12)])

    async def aforward(self) -> Any:
        return dspy.Prediction(got=[getattr(self, f"a{number}") for number in range(12)])


@pytest.mark.parametrize(("freshness", "rpcs"), [("latest", 5), ("streamed", 0)])
async def test_twelve_bindings_cost_one_rpc_or_none(
    freshness: Any, rpcs: int, proxy: WireProxy, session_id: str, other: Any
) -> None:
    names = {f"a{number}": f"v{number}" for number in range(12)}
    for name in names.values():
        other.register_variable(name, "integer", 1)
    async with SessionContext.connect(proxy.address, session_id=session_id, freshness=freshness) as ctx:
        before = proxy.count("GetVariables")
        program = await sb.bind_async(Silent(), names, session=ctx)
        assert proxy.count("GetVariables") - before == 1
        assert program().got == [1] * 12
        start = proxy.count()
        for _ in range(3):
            program()
        for _ in range(2):
            await program.acall()
        assert proxy.rpcs()[start:] == ["SyncVariables"] * rpcs


def test_a_call_inside_a_call_costs_nothing(proxy: WireProxy, session_id: str, other: Any) -> None:
    class Outer(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Silent()
            self.k = 0

        def forward(self) -> Any:
            return dspy.Prediction(got=[self.k, *self.inner().got])

    other.register_variable("k", "integer", 5)
    with SessionContext.connect(proxy.address, session_id=session_id) as session:
        program = sb.bind(Outer(), {"k": "k", "inner.a0": "k"}, session=session)
        sb.bind(program.inner, {"a1": "k"}, session=session)
        start = proxy.count()
        assert program().got[:3] == [5, 5, 5]
        assert proxy.rpcs()[start:] == ["SyncVariables"]
