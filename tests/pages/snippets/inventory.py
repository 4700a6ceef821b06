"""Who runs which block, and the few that nobody can run, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.pages.snippets.blocks import Block, blocks
from tests.pages.snippets.parsed import PARSERS


class NotRun(NamedTuple):
    """A block that is not run.

    Attributes:
        page: where it is.
        begins: how its first line begins.
        reason: why, and what holds it to the truth instead.
    """

    page: str
    begins: str
    reason: str


NOT_RUN = [
    NotRun(
        "README.md",
        "make demo",
        "compiles for minutes; CI is `make test`, tests/examples/test_demo.py runs what `make demo` does",
    ),
    NotRun(
        "docs/releasing.md",
        "make release",
        "compiles for minutes; tests/package/test_release.py has the parts that do not",
    ),
    NotRun(
        "README.md",
        "python -m snakepit_bridge worker",
        "serves until it is ended; tests/tools/workers/test_worker_cli.py",
    ),
    NotRun("ARCHITECTURE.md", " any client", "a drawing"),
    NotRun("docs/guide.md", "snakepit serve", "the guide's reader has a server: that of the tests"),
    NotRun(
        "docs/guide.md", "python -m snakepit_bridge worker", "until it is ended; tests/tools/workers/test_worker_cli.py"
    ),
    NotRun("docs/guide.md", "serving support_agent", "what that prints; tests/tools/workers/test_worker_cli.py"),
    NotRun("docs/metrics.md", "histogram_quantile(", "PromQL; tests/pages/test_metrics.py looks for what it asks for"),
    NotRun(
        "docs/metrics.md",
        "rate(snakepit_journal_wait",
        "PromQL; tests/pages/test_metrics.py looks for what it asks for",
    ),
    NotRun(
        "docs/metrics.md",
        "$ curl http://127.0.0.1:9464/readyz",
        "a full disk; server_rs/cli/tests/cli/serving/probes.rs",
    ),
    NotRun("docs/security.md", "snakepit token new", "tests/pages/test_security.py runs it"),
    NotRun(
        "docs/security.md", "snakepit serve --listen 0.0.0.0", "other machines; server_rs/cli/tests/cli/serving/tls.rs"
    ),
    NotRun(
        "docs/security.md", "SessionContext.connect(", "other machines; tests/pages/test_security.py makes the contexts"
    ),
]

GENERATED = {"docs/cli.md": "made by `make cli-docs`; server_rs/cli/tests/cli/commands/reference.rs holds it current"}
GUIDED = {"README.md", "docs/guide.md"}
"""The pages that tests/pages/test_guide.py reads, with an LM; all others are read by tests/pages/test_snippets.py."""


class Step(NamedTuple):
    """Something to run, and what it is shown to print, if that is shown."""

    block: Block
    printed: str | None


def exception(block: Block) -> NotRun | None:
    """Why a block is not run, if it is not."""
    return next((it for it in NOT_RUN if it.page == block.page and block.text.startswith(it.begins)), None)


def steps(page: str) -> Iterator[Step]:
    """What is to be run of a page, in order."""
    found = blocks(page)
    for block, after in zip(found, [*found[1:], None], strict=False):
        if block.language in {"sh", "python"} and not exception(block):
            shown = after.text if block.language == "sh" and after and after.language == "text" else None
            yield Step(block, shown)


def unaccounted(page: str) -> list[str]:
    """The blocks of a page that nobody runs, reads, or excuses."""
    if page in GENERATED:
        return []
    found = blocks(page)
    run = {step.block for step in steps(page)}
    lost = []
    for before, block in zip([None, *found], found, strict=False):
        output = block.language == "text" and before in run and before is not None and before.language == "sh"
        if not (output or block in run or block.language in PARSERS or exception(block)):
            lost.append(f"{block} ({block.language or 'no language'}): {block.text.splitlines()[0]}")
    return lost


def scratch(directory: Path, name: str) -> Path:
    """A directory of that name, made."""
    made = directory / name
    made.mkdir()
    return made
