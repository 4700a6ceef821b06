"""An OpenAI-compatible chat server on loopback that keeps every request it got: the wire that tests assert on."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import dspy

Answer = str | Mapping[str, Any]
"""Text goes out as it is; a mapping of output fields in the form that the request asks for."""

_CHAT_FIELD = re.compile(r"`\[\[ ## (\w+) ## \]\]`")
_JSON_FIELD = re.compile(r"`(\w+)`")
_JSON_REQUEST = "Respond with a JSON object in the following order of fields: "


class RecordingLM:
    """A real HTTP server that answers `/v1/chat/completions` and records bodies and headers.

    Use it as a context manager; it listens on a free port as soon as it exists. Unless `reply` says otherwise it
    answers every output field that the request asks for with `"<field> 1"`, `"<field> 2"`, … counting the requests.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        """The bodies of the chat requests, in the order of arrival. Only ever appended to.

        A limit of tokens under its old name, `max_tokens`, as LiteLLM sends it and so all of DSPy before 3.4 does, is
        noted under the one that OpenAI has given it since: one name for what asks for the same.
        """
        self.headers: list[dict[str, str]] = []
        """Their headers with lower-case names, at the same index."""
        self._lock = threading.Lock()
        self._answer: Callable[[dict[str, Any]], Answer] | None = None
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The `api_base` to give to an LM client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def reply(self, answer: Answer | Callable[[dict[str, Any]], Answer]) -> None:
        """Sets what is answered from now on: an answer, or a function from request body to answer.

        The function runs on the thread of its request, so it may block to hold an answer back. If it raises, the
        request fails with status 500.
        """
        self._answer = answer if callable(answer) else lambda _body: answer

    def lm(self, model: str = "openai/gpt-4o-mini", **kwargs: Any) -> dspy.LM:
        """A real DSPy LM that asks this server, without cache and retries."""
        import dspy

        options: dict[str, Any] = {"cache": False, "num_retries": 0, "api_key": "test-key", "api_base": self.url}
        return dspy.LM(model, **(options | kwargs))

    def close(self) -> None:
        """Stops listening; answers under way are dropped."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def content_for(self, body: dict[str, Any], headers: dict[str, str]) -> str:
        """Records a request and gives the text to answer it with."""
        if "max_tokens" in body and "max_completion_tokens" not in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            number = len(self.requests)
        if self._answer is None:
            return render({field: f"{field} {number}" for field in asked_fields(body)}, body)
        return render(self._answer(body), body)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # Who asked may have been killed since, by its test.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def asked_fields(body: Mapping[str, Any]) -> list[str]:
    """The output fields that a request of ChatAdapter or JSONAdapter asks for, in order."""
    last = _text_of(body["messages"][-1])
    if _JSON_REQUEST in last:
        return _JSON_FIELD.findall(last.rpartition(_JSON_REQUEST)[2])
    return [name for name in _CHAT_FIELD.findall(last) if name != "completed"]


def render(answer: Answer, body: Mapping[str, Any]) -> str:
    """Writes an answer as JSON if the request asks for it, else in ChatAdapter's `[[ ## field ## ]]` form."""
    if isinstance(answer, str):
        return answer
    if "response_format" in body or _JSON_REQUEST in _text_of(body["messages"][-1]):
        return json.dumps(answer, ensure_ascii=False)
    sections = [
        f"[[ ## {name} ## ]]\n{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in answer.items()
    ]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def _text_of(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _completion(body: Mapping[str, Any], content: str, number: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {"index": index, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
            | ({"logprobs": {"content": []}} if body.get("logprobs") else {})
            for index in range(body.get("n") or 1)
        ],
        "usage": _usage(body, content),
    }


def _chunks(body: Mapping[str, Any], content: str, number: int) -> Iterator[dict[str, Any]]:
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in re.findall(r"\s*\S+\s*", content)]
    for delta in deltas:
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": _usage(body, content)}


def _usage(body: Mapping[str, Any], content: str) -> dict[str, int]:
    prompt = sum(len(_text_of(message).split()) for message in body["messages"])
    completion = len(content.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _handler_of(lm: RecordingLM) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes: without this each answer waits 40 ms for a delayed acknowledgement.
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self._answer({"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model"}]})
            else:
                self._refuse(HTTPStatus.NOT_FOUND, f"no such path: {self.path}")

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/v1/chat/completions":
                self._refuse(HTTPStatus.NOT_FOUND, f"no such path: {self.path}")
                return
            body = json.loads(raw)
            try:
                content = lm.content_for(body, {name.lower(): value for name, value in self.headers.items()})
            except Exception as error:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
                return
            if body.get("stream"):
                self._stream(_chunks(body, content, len(lm.requests)))
            else:
                self._answer(_completion(body, content, len(lm.requests)))

        def _refuse(self, status: HTTPStatus, message: str) -> None:
            self._answer({"error": {"message": message, "type": status.phrase, "code": status.value}}, status)

        def _answer(self, payload: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
            data = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, chunks: Iterator[dict[str, Any]]) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

    return Handler
