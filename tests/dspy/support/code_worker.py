"""The process that an `AnotherProcess` starts: runs the code in each line of stdin. Imports no DSPy."""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Callable
from typing import Any


class SubmittedError(Exception):
    """Ends the code that submits."""


def submitting(fields: list[str]) -> Callable[..., None]:
    def submit(*values: Any, **named: Any) -> None:
        raise SubmittedError(dict(zip(fields, values, strict=False)) | named if fields or named else values[0])

    return submit


def asking(name: str, out: Any) -> Callable[..., Any]:
    def tool(*args: Any, **kwargs: Any) -> Any:
        print(json.dumps(["tool", [name, args, kwargs]]), file=out, flush=True)
        problem, value = json.loads(sys.stdin.readline())
        if problem is not None:
            raise RuntimeError(problem)
        return value

    return tool


def run(code: str, names: dict[str, Any]) -> list[Any]:
    """What kind of end it came to, and with what: what was submitted, else the last value, else what it printed."""
    sys.stdout = printed = io.StringIO()
    try:
        *body, last = ast.parse(code).body
        value = None
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(body, []), "<code>", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "<code>", "eval"), names)
        else:
            exec(code, names)
        return ["done", value if value is not None else printed.getvalue() or None]
    except SubmittedError as submitted:
        return ["submitted", submitted.args[0]]
    except SyntaxError as error:
        return ["syntax", str(error)]
    except Exception as error:
        return ["raised", f"{type(error).__name__}: {error}"]


def main() -> None:
    """Serves stdin until it ends."""
    out, names = sys.stdout, dict[str, Any]()
    for line in sys.stdin:
        request = json.loads(line)
        names |= request["variables"] | {name: asking(name, out) for name in request["tools"]}
        names["SUBMIT"] = submitting(request["fields"])
        print(json.dumps(run(request["code"], names)), file=out, flush=True)


if __name__ == "__main__":
    main()
