"""What a call costs on the wire, counted there."""

from __future__ import annotations

import gc
from typing import Any

import dspy
import pytest
from dspy.utils.dummies import DummyLM

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")


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


def test_new_instructions_for_each_call_leave_no_classes_behind(session: BlockingContext) -> None:
    session.register_variable("d", "string", "")
    program = sb.bind(
        dspy.ChainOfThought("question -> answer"), {"instructions": "prompt", "fields['answer'].desc": "d"},
        session=session,
    )  # fmt: skip

    def classes_after(forwards: int) -> int:
        for number in range(forwards):
            session.set_variables({"prompt": f"Say {number} of {forwards}.", "d": f"word {number} of {forwards}"})
            program(question="why?")
        gc.collect()
        return sum(isinstance(one, type) and issubclass(one, dspy.Signature) for one in gc.get_objects())

    with dspy.context(lm=DummyLM([{"reasoning": "r", "answer": "a"}] * 1000)):
        # With as many as are kept, each new one takes the place of another.
        settled = classes_after(150)
        assert classes_after(400) <= settled
