"""The API reference is built out of the docstrings, and says something of everything that is exported."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "snakepit_bridge",
    "snakepit_bridge.exceptions",
    "snakepit_bridge.dspy_integration",
    "snakepit_bridge.dspy_integration.serialization",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` writes; it warns of nothing."""
    target = tmp_path_factory.mktemp("target")
    # The environment that runs this has the development tools already. A path from here: it has no blank.
    environment = os.path.relpath(sys.prefix, ROOT)
    made = [
        "make",
        f"--old-file={environment}/.snakepit/dev",
        f"VENV={environment}",
        f"CARGO_TARGET_DIR={target}",
        "docs",
    ]
    done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return target / "docs"


def page(site: Path, module: str) -> str:
    return (site / f"{module.replace('.', '/')}.html").read_text(encoding="utf-8")


def test_the_reference_has_a_page_for_each_public_module_and_no_other(site: Path) -> None:
    pages = {path.relative_to(site).with_suffix("").as_posix().replace("/", ".") for path in site.rglob("*.html")}
    assert pages == {*PUBLIC, "index"}


@pytest.mark.parametrize("module", PUBLIC)
def test_everything_exported_is_described(module: str, site: Path) -> None:
    text = page(site, module)
    assert described(text.partition('<section class="module-info">')[2].partition("</section>")[0])
    exported = importlib.import_module(module)
    for name in exported.__all__:
        if isinstance(getattr(exported, name), ModuleType):
            assert f"{module}.{name}" in PUBLIC
            continue
        assert described(own_part(text, name)), f"{module}.{name} has no docstring"


def own_part(text: str, name: str) -> str:
    """What a page says of a name, without what it says of the attributes of that name."""
    _, _, section = text.partition(f'<section id="{name}">')
    return section.partition("</section>")[0].partition('class="classattr"')[0]


def described(part: str) -> bool:
    found = re.search(r'<div class="docstring">(.*?)</div>', part, re.DOTALL)
    return found is not None and len(re.sub(r"<[^>]+>", "", found[1]).split()) > 1
