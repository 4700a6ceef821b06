"""How the transport of a module is chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.transports import OPEN, SECURE, TOKENS, chosen

TESTS = Path(__file__).parents[1]
MODULES = [TESTS / "client" / f"test_{number}.py" for number in range(64)]


def test_the_seed_of_the_run_draws_and_draws_both(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytestconfig.option, "transport", "drawn")
    draws = []
    for seed in (1, 2, 1):
        monkeypatch.setattr(pytestconfig.option, "randomly_seed", seed, raising=False)
        draws.append([chosen(pytestconfig, module, None) for module in MODULES])
    first, other, again = draws
    assert first == again != other
    secure = [SECURE if shutil.which("openssl") else TOKENS]
    assert sorted(map(tuple, first)).count((OPEN,)) in range(8, 57)
    assert all(names in ([OPEN], secure) for names in first)


def test_an_option_and_a_marker_go_before_the_seed(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = SECURE if shutil.which("openssl") else TOKENS
    for option, marker, names in [
        ("open", None, [OPEN]),
        ("secure", None, [secure]),
        ("both", None, [OPEN, secure]),
        ("both", TOKENS, [OPEN, TOKENS]),
        ("secure", TOKENS, [TOKENS]),
        ("both", OPEN, [OPEN]),
    ]:
        monkeypatch.setattr(pytestconfig.option, "transport", option)
        assert chosen(pytestconfig, MODULES[0], marker) == names
    assert chosen(pytestconfig, TESTS / "faults" / "test_a.py", None) == [OPEN]
