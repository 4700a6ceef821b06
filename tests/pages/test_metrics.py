"""What docs/metrics.md says: its table is what a server exposes, strictly parsed; its rules ask for what is there."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import LimitExceededError
from snakepit_bridge.server import local_server, start

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
BUCKETS = "le"


@dataclass(frozen=True)
class Scraped:
    """A scrape of a server that has done a little of everything."""

    content_type: str
    text: str
    families: list[Metric]


@pytest.fixture(scope="module")
def scraped(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """The server keeps its sessions on disk, so that there is all that can be."""
    keep = [
        "--data-dir",
        str(tmp_path_factory.mktemp("metrics")),
        "--until-stdin-closes",
        "--limit-value-bytes",
        "1000",
    ]
    listen = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    with start(server_binary, ["serve", *keep, *listen]) as server:
        stdout = server._process.stdout
        assert stdout is not None
        said = stdout.readline().decode()
        assert said.startswith("metrics on ")
        with SessionContext.connect(server.address) as context:
            context.register_variable("text", "string", "a")
            context.set_variable("text", "b")
            with pytest.raises(LimitExceededError):
                context.set_variable("text", "c" * 2000)
            with urllib.request.urlopen(f"http://{said.removeprefix('metrics on ').strip()}/metrics") as answer:
                text = answer.read().decode()
                content_type = answer.headers["content-type"]
        families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
        yield Scraped(content_type, text, families)


def rows(families: list[Metric]) -> list[str]:
    """The table as it has to be: a row for each family, by name."""
    found = []
    for family in families:
        suffix = "_total" if family.type == "counter" else ""
        labels = sorted({label for sample in family.samples for label in sample.labels} - {BUCKETS})
        named = ", ".join(f"`{label}`" for label in labels)
        found.append(
            f"| `{family.name}{suffix}` | {family.type} | {named} | {family.documentation.removesuffix('.')} |"
        )
    return sorted(found)


def test_a_strict_parser_reads_what_is_exposed(scraped: Scraped) -> None:
    assert scraped.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert scraped.text.endswith("# EOF\n")
    families = {family.name: family for family in scraped.families}
    assert len(families) == len(scraped.families), "each family comes once"
    assert families["snakepit_sessions"].samples[0].value == 1
    committed = [it.value for it in families["snakepit_writes"].samples if it.labels == {"outcome": "committed"}]
    assert committed == [2]
    synced = families["snakepit_journal_sync_duration_seconds"]
    assert [it.value for it in synced.samples if it.name.endswith("_count")] >= [3]
    # Base units, and a unit that says which.
    for family in scraped.families:
        assert re.fullmatch(r"(snakepit|process)_[a-z_]+", family.name)
        assert not family.unit or family.name.endswith(f"_{family.unit}")
        assert family.documentation


def test_the_table_has_each_metric_and_no_other(scraped: Scraped) -> None:
    table = [line for line in TEXT.splitlines() if re.match(r"\| `(snakepit|process)_", line)]
    expected = rows(scraped.families)
    assert sorted(table) == expected, "docs/metrics.md should have:\n" + "\n".join(expected)


def test_rules_and_queries_ask_for_metrics_that_are_there(scraped: Scraped) -> None:
    exposed = {sample.name for family in scraped.families for sample in family.samples}
    exposed |= {f"{family.name}_bucket" for family in scraped.families if family.type == "histogram"}
    blocks = re.findall(r"```(?:yaml|promql)\n(.*?)```", TEXT, re.DOTALL)
    asked = {
        name for block in blocks for name in re.findall(r"\b(?:snakepit|process)_[a-z_]+[a-z]\b(?=[\[{ )])", block)
    }
    assert len(asked) > 10
    assert asked <= exposed


def test_a_server_of_ones_own_opens_no_port_for_metrics(server_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_METRICS_LISTEN", "127.0.0.1:1")
    with local_server(binary=server_binary) as server:
        assert server.address
