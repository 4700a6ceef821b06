"""Runs what programs write as code, also where DSPy has no interpreter that works without network."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy

_WORKER = Path(__file__).with_name("code_worker.py")
_CodeError = getattr(dspy, "CodeExecutionError", dspy.CodeInterpreterError)


class AnotherProcess:
    """A `dspy.CodeInterpreter` of our own. What it was given and what its code defines last until code submits."""

    def __init__(self) -> None:
        self.tools: dict[str, Any] = {}
        self.output_fields: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        self.start()
        fields = [field["name"] for field in self.output_fields]
        self._send({"code": code, "variables": variables or {}, "tools": list(self.tools), "fields": fields})
        while (answer := self._receive())[0] == "tool":
            self._send(self._called(*answer[1]))
        kind, value = answer
        if kind == "submitted":
            self.shutdown()
            return dspy.FinalOutput(value)
        if kind == "syntax":
            raise SyntaxError(value)
        if kind == "raised":
            raise _CodeError(value)
        return value

    __call__ = execute

    def shutdown(self) -> None:
        self.tools.clear()
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def _called(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        try:
            return [None, self.tools[name](*args, **kwargs)]
        except Exception as error:
            return [f"{type(error).__name__}: {error}", None]

    def _send(self, message: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)

    def _receive(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


_RLM = inspect.signature(dspy.RLM.__init__).parameters

INTERPRETER: dict[str, Any] = (
    {"interpreter_factory": getattr(dspy, "LocalInterpreter", AnotherProcess)}
    if "interpreter_factory" in _RLM
    else {"interpreter": AnotherProcess()}
)
"""The argument that gives any of DSPy's modules an interpreter."""


def rlm(max_iters: int = 20, **kwargs: Any) -> Any:
    """A `dspy.RLM` that works here."""
    limit = "max_iters" if "max_iters" in _RLM else "max_iterations"
    return dspy.RLM("question -> answer", **{limit: max_iters}, **INTERPRETER, **kwargs)
