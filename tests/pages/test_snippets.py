"""Every fenced block of every page is run, or read, or excused with a reason; every link leads somewhere."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from snakepit_bridge import local_server
from tests.pages.snippets.blocks import ROOT, blocks, pages
from tests.pages.snippets.inventory import GENERATED, GUIDED, NOT_RUN, exception, scratch, steps, unaccounted
from tests.pages.snippets.parsed import PARSERS
from tests.pages.snippets.shell import Shell, like

# `make` is looked up, not run: what it does takes minutes, and is what runs these tests.
MAKE = f'make() {{ grep -q "^$1:" {ROOT}/Makefile; }}'
RUN_HERE = [page for page in pages() if page not in GUIDED and any(steps(page))]


@pytest.mark.parametrize("page", pages())
def test_every_block_is_run_or_read_or_excused(page: str) -> None:
    assert unaccounted(page) == []


def test_every_excuse_is_of_a_block_that_is_there() -> None:
    excused = {exception(block) for page in pages() for block in blocks(page)}
    assert [it for it in NOT_RUN if it not in excused] == []
    assert GENERATED.keys() <= set(pages())


@pytest.mark.parametrize("page", [page for page in pages() if page not in GENERATED])
def test_what_is_only_read_is_of_its_language(page: str, tmp_path: Path) -> None:
    for index, block in enumerate(blocks(page)):
        if block.language in PARSERS and not exception(block):
            try:
                PARSERS[block.language](block.text, scratch(tmp_path, str(index)))
            except Exception as error:
                raise AssertionError(f"{block} is no {block.language}: {error}") from error


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on the loopback interface")
@pytest.mark.parametrize("page", RUN_HERE)
def test_the_commands_of_a_page_do_what_it_shows(page: str, server_binary: Path, tmp_path: Path) -> None:
    """In one shell, in order, against a real server: the page's own, or else one that is there."""
    # An address that nobody else has, with the usual port.
    own = ".".join(["127", *(str(1 + secrets.randbelow(250)) for _ in range(3))]) + ":50051"
    serves = any("snakepit serve" in step.block.text for step in steps(page))
    with local_server(binary=server_binary) as other:
        address = own if serves else other.address
        environment = {
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "PATH": f"{server_binary.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
            "SNAKEPIT_ADDRESS": address,
            "SNAKEPIT_LISTEN": address,
            # What goes wrong in the background would stand among what is shown.
            "SNAKEPIT_LOG": "off",
            "USER": "ada",
        }
        scripts, directory = scratch(tmp_path, "scripts"), scratch(tmp_path, "here")
        with Shell(directory, scripts, environment) as shell:
            shell.run(MAKE)
            for block, shown in steps(page):
                python = f"python - <<'END OF THE BLOCK'\n{block.text}END OF THE BLOCK\n"
                printed, failed = shell.run(python if block.language == "python" else block.text)
                printed = printed.replace(own, "127.0.0.1:50051")
                if shown is None:
                    assert failed == [], f"{block}: {printed}"
                else:
                    assert like(printed, shown), f"{block} prints:\n{printed}"


@pytest.mark.parametrize(
    ("printed", "shown", "alike"),
    [
        ("a 1 b\n", "a … b\n", True),
        ("a 1 b\n", "a … c\n", False),
        ("a\nb\nc\n", "a\n…\nc\n", True),
        ("a\n", "a\n…\n", True),
        ("a\nb\n", "a\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_an_ellipsis_stands_for_what_differs_and_for_nothing_else(printed: str, shown: str, *, alike: bool) -> None:
    assert like(printed, shown) is alike


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    scripts, directory = scratch(tmp_path, "scripts"), scratch(tmp_path, "here")
    with Shell(directory, scripts, dict(os.environ)) as shell:
        assert shell.run("true\nexport X=1\n") == ("", [])
        assert shell.run("echo $X\nfalse\necho on\n") == ("1\non\n", ["false"])


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings have on GitHub."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


LINKING = [*pages(), "CHANGELOG.md", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/adr").glob("*.md"))]


@pytest.mark.parametrize("page", LINKING)
def test_every_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    lost = []
    for target in targets:
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", pages())
def test_every_task_that_a_page_names_is_in_the_makefile(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8")))
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading of the page on operations, without their headers."""
    lines = OPERATIONS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]
    assert rows
    return rows


def test_the_limits_are_those_of_the_server(server_binary: Path) -> None:
    printed = subprocess.run([server_binary, "serve", "--print-config"], capture_output=True, text=True, check=True)
    held = {name: value for name, value in tomllib.loads(printed.stdout).items() if name.startswith("limit_")}
    told = {row[0].strip("`-").replace("-", "_"): int(row[1]) for row in rows_of("Limits")}
    assert told == held


def test_every_message_is_one_that_is_printed() -> None:
    sources = [*(ROOT / "server_rs").glob("*/src/**/*.rs"), *(ROOT / "snakepit_bridge").glob("**/*.py")]
    # Rust goes on with a string on the next line.
    code = re.sub(r"\\\n\s*", "", "".join(path.read_text(encoding="utf-8") for path in sources))
    for message in (row[0].strip("`") for row in rows_of("By symptom")):
        for part in message.split("…"):
            assert part.strip() in code, message


def test_every_flag_that_is_named_is_one(server_binary: Path) -> None:
    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:snakepit [a-z ]+)?(--[a-z-]+)", OPERATIONS))
    assert len(named) > 15
    assert {flag for flag in named if f"`{flag}" not in reference} == set()


@pytest.mark.parametrize("page", pages())
def test_every_variable_of_the_environment_that_is_named_is_read(page: str) -> None:
    sources = [
        *(ROOT / "server_rs").glob("*/src/**/*.rs"),
        *(ROOT / "snakepit_bridge").glob("**/*.py"),
        ROOT / "Makefile",
    ]
    sources += [
        *(ROOT / "examples").glob("**/*.py"),
        ROOT / "docs/cli.md",
        ROOT / "server_rs/cli/tests/histories/main.rs",
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r"SNAKEPIT_[A-Z_]*[A-Z]", (ROOT / page).read_text(encoding="utf-8")))
    assert {name for name in named if not re.search(rf"{name}\b", code)} == set()


def test_the_figures_of_the_readme_are_those_of_the_pages_it_links_to() -> None:
    measured = "".join(
        (ROOT / page).read_text(encoding="utf-8") for page in ("docs/reliability.md", "benchmarks/README.md")
    )
    told = re.findall(r"^\| \*\*.+?\|(.+)\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    figures = [figure for cell in told for figure in re.findall(r"\d[\d,]+", re.sub(r"\([^)]*\)", "", cell))]
    assert len(told) == 4 <= len(figures)
    assert [figure for figure in figures if not re.search(rf"(?<![\d,]){figure}(?![\d,])", measured)] == []


def test_the_rates_of_the_page_on_operations_were_measured() -> None:
    results = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks/results").glob("*-speed.txt"))
    rates = re.findall(r"^\| (?:writes|reads), .+? \| ([\d,]+) \|", OPERATIONS, re.MULTILINE)
    assert len(rates) == 3
    assert [rate for rate in rates if f" {rate.replace(',', '')}/s" not in results] == []
