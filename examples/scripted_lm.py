"""A stand-in for a language model where there is none: it answers from a list, over real HTTP.

It is not a language model and every example that uses it says so. It does react to what the variables of the examples
change: at temperature 0 it gives its first answer, otherwise any; it stops after `max_tokens` words; and where a prompt
shows examples it answers as in the one that has the most words in common with the question.
"""

from __future__ import annotations

import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any, Self

import dspy

ANSWERS = [
    "Read a long book by the window, with tea and no plan at all.",
    "Bake bread slowly, and let the whole house smell of it until evening.",
    "Call an old friend, and walk through the puddles while you talk.",
    "Sort the old photographs, and write down who is in them.",
    "Learn three chords, and play them until the neighbours know them too.",
    "Visit a museum that you always passed by, and stay for one picture.",
    "Repair the thing that has been waiting on the shelf since spring.",
    "Sleep late, eat soup, and watch the rain do all the work.",
]
REASONING = "It rains and nothing is urgent, so something slow and dry is best."


class ScriptedLM:
    """Answers `/v1/chat/completions` on a free loopback port, for ChatAdapter and JSONAdapter alike.

    Attributes:
        url: the OpenAI-compatible address.
        lm: a DSPy LM that asks it, without caching.
    """

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self.lm = dspy.LM("openai/scripted", api_base=self.url, api_key="none", cache=False, num_retries=0)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def asked_fields(body: dict[str, Any]) -> list[str]:
    """The output fields that a request asks for, in order: what its JSON schema says, else what its prompt says."""
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
    if properties := schema.get("properties"):
        return list(properties)
    _, _, request = str(body["messages"][-1]["content"]).rpartition("Respond with ")
    names = re.findall(r"`(?:\[\[ ## )?(\w+)(?: ## \]\])?`", request)
    return [name for name in names if name != "completed"]


def _words(message: dict[str, Any]) -> set[str]:
    return set(re.findall(r"\w{3,}", str(message["content"]).partition("Respond with ")[0].lower()))


def _as_in_the_nearest_example(messages: list[dict[str, Any]]) -> str | None:
    asked = _words(messages[-1])
    shown = [(before, after) for before, after in pairwise(messages) if after["role"] == "assistant"]
    if not shown:
        return None
    return str(max(shown, key=lambda pair: len(_words(pair[0]) & asked))[1]["content"])


def _said(body: dict[str, Any], field: str) -> str:
    """What a field of the last message holds."""
    found = re.search(rf"\[\[ ## {field} ## \]\]\n(.*)", str(body["messages"][-1]["content"]))
    return found[1].strip() if found else ""


def _as_an_agent(body: dict[str, Any]) -> dict[str, str] | None:
    """Calls the first tool with the last name in the question, then answers with what that gave."""
    observed = _said(body, "observation_0")
    if "next_tool_name" not in asked_fields(body):
        return {"reasoning": "The tool has said so.", "answer": observed} if observed else None
    if observed:
        return {"next_thought": "I know enough.", "next_tool_name": "finish", "next_tool_args": "{}"}
    tool, argument = re.findall(r"\(1\) (\w+).*?arguments \{'(\w+)'", str(body["messages"][0]["content"]))[0]
    name = re.findall(r"\b[A-Z]\w+", _said(body, "question"))[-1]
    arguments = json.dumps({argument: name})
    return {"next_thought": f"I have to look up {name}.", "next_tool_name": tool, "next_tool_args": arguments}


def _answer(body: dict[str, Any]) -> tuple[str, bool]:
    step = _as_an_agent(body)
    if step is not None:
        return _written(body, step), False
    shown = _as_in_the_nearest_example(body["messages"])
    if shown is not None:
        return shown, False
    answer = random.choice(ANSWERS) if body.get("temperature") else ANSWERS[0]
    budget = body.get("max_completion_tokens") or body.get("max_tokens") or 1_000
    fields: dict[str, str] = {}
    for name in asked_fields(body):
        words = (REASONING if name == "reasoning" else answer).split()
        fields[name] = " ".join(words[:budget])
        budget = max(0, budget - len(words))
    return _written(body, fields), budget == 0


def _written(body: dict[str, Any], fields: dict[str, str]) -> str:
    if "Respond with a JSON object" in str(body["messages"][-1]["content"]):
        return json.dumps(fields)
    sections = [f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content, cut = _answer(body)
        message = {"role": "assistant", "content": content}
        words = len(content.split())
        completion = {
            "id": "scripted",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": words, "total_tokens": words},
        }
        data = json.dumps(completion).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
