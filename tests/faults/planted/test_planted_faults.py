"""Twelve mistakes that the server could have, planted one at a time: each is caught, and what is sound is not.

Without this, harnesses that find nothing mean nothing. `--plantings 10` (or `make planted-faults`) plants each ten
times before every harness that has to catch it; the terminal summary has what each was caught by.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.planted.harnesses import FAULT, ROUNDS, Harness, histories, kills, power_cuts, secrets

# Of each fault, who has to catch it, and a sign of it that their findings have to have. In CI the first of them does.
FAULTS: dict[str, dict[Harness, str]] = {
    "acknowledge-before-fsync": {power_cuts: "LOST|acknowledged writes"},
    "answer-before-publish": {histories: r"^real time: call \d+ is at revision"},
    "refuse-early": {histories: r"^real time: call \d+ is at revision"},
    "skip-expected-version": {histories: "^model: .* had to be Refused.*VERSION_CONFLICT"},
    "drop-change": {kills: r"^a watch saw \w+ = \d+ after", histories: "^(dense|reliable): "},
    "split-batch": {histories: "^exactly once: "},
    # Once it is folded, a start may miss the event that is gone.
    "reuse-revision": {
        kills: r"^revision \d+ was given to",
        histories: "^exactly once: |the server did not start: ",
        power_cuts: "LOST|IN PART|events are missing",
    },
    "forget-key": {kills: "applied twice$", histories: "^exactly once: .* was applied twice"},
    "lose-tail": {
        # The next increment is given the lost one's value again.
        kills: r"^n\d: \d+ came after|saw n\d = (\d+) after \1$|lies in the future|are lost$|has no variable",
        power_cuts: "LOST",
        histories: "^exactly once: .* but it is no event",
    },
    "trust-the-log": {power_cuts: "NOT TOLD"},
    "confirm-guess": {secrets: "^indistinguishable::"},
    "exact-sizes": {secrets: "^secret_sizes::"},
}


def _plantings() -> list[tuple[str, Harness]]:
    return [(fault, harness) for fault, catchers in FAULTS.items() for harness in catchers]


def _name(of: str | Harness) -> str:
    return of if isinstance(of, str) else of.__name__.replace("_", "-")


@pytest.mark.parametrize(("fault", "harness"), _plantings(), ids=_name)
def test_a_planted_fault_is_caught(
    fault: str,
    harness: Harness,
    server_binary: Path,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plantings: int | None = pytestconfig.getoption("--plantings")
    if not plantings and harness is not next(iter(FAULTS[fault])):
        pytest.skip("its first harness catches it here; `make planted-faults` has them all do so")
    monkeypatch.setenv(FAULT, fault)
    sign = re.compile(FAULTS[fault][harness])
    first = ""
    for number in range(plantings or 1):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        found = harness(server_binary, scratch, ROUNDS)
        signs = [finding for finding in found if sign.search(finding)]
        assert signs, f"planting {number + 1}: nothing of it among {len(found)} findings, first {found[:5]}"
        first = first or signs[0]
    times = f"{plantings} of {plantings}: " if plantings else ""
    line = f"{fault:<24} {_name(harness):<10} {times}{first.splitlines()[0][:160]}"
    record_property("planted faults", line)


@pytest.mark.parametrize("harness", [kills, power_cuts, histories], ids=_name)
def test_the_same_server_without_a_fault_is_sound(
    harness: Harness, server_binary: Path, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FAULT, raising=False)
    # What these harnesses find in the server as it is shipped has tests of its own.
    assert harness(server_binary, tmp_path, ROUNDS if pytestconfig.getoption("--plantings") else 1) == []


def test_a_fault_that_there_is_none_of_ends_the_server(
    server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, "lose-tale")
    where = ["--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")]
    serve = [str(server_binary), "serve", "--until-stdin-closes", *where]
    ended = subprocess.run(serve, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.decode().strip().endswith(f"there are {', '.join(FAULTS)}")
