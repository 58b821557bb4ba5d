"""A real HTTP server of this machine that speaks OpenAI's protocol and fails as it is told.

    with openai_server() as server:
        server.script("shaky", fails(429, retry_after_s=0.01), generates(gap_s=0.002))
        client = openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)

Every model has a script: one reply per request, the last one for all that follow. A model without
a script is unknown (404). Answers /v1/chat/completions and /v1/completions, streamed or whole, and
/v1/models; `server.requests` holds what came. Delays end when the server closes.

By hand: `python -m tests.openai_server [PORT]` serves the model `tiny`, which generates.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORD = "tok "
DEFAULT_TOKENS = 16


@dataclass(frozen=True)
class Reply:
    """What one request is answered; made by the functions below.

    Attributes:
        text: What is said, in pieces of one word; None: as many words as the request allows.
        tool_calls: (name, arguments as JSON text) of every tool called.
        status: Of a refusal, or 200.
        code: Of a refusal.
        retry_after: Value of the header Retry-After.
        wait_s: Before anything is sent.
        first_s: Between the headers and the first piece of a stream; before a whole answer.
        gap_s: Between the pieces of a stream; after every piece but the last, before a whole one.
        cut_after: Pieces after which the connection breaks; a whole answer breaks half-way.
        broken_after: Pieces after which a chunk is no JSON; a whole answer is none at all.
        error_after: Pieces after which the stream carries an error event.
        has_choices: False: no choice at all.
        finish_reason: As in the protocol.
        has_usage: Whether usage is told (in a stream only if the request asks for it).
    """

    text: str | None = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    status: int = 200
    code: str = ""
    retry_after: str | None = None
    wait_s: float = 0.0
    first_s: float = 0.0
    gap_s: float = 0.0
    cut_after: int | None = None
    broken_after: int | None = None
    error_after: int | None = None
    has_choices: bool = True
    finish_reason: str = "stop"
    has_usage: bool = True


def says(text: str, **changes) -> Reply:
    """Text, one word a piece."""
    return replace(Reply(text=text), **changes)


def generates(**changes) -> Reply:
    """As many tokens as the request's max_tokens or max_completion_tokens; 16 without any."""
    return replace(Reply(text=None, finish_reason="length"), **changes)


def calls(arguments: dict | str, name: str = "set_config", **changes) -> Reply:
    """A call of a tool with these arguments, or with this text in their place."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return replace(Reply(tool_calls=((name, text),), finish_reason="tool_calls"), **changes)


def fails(status: int, code: str = "", *, retry_after_s: float | str | None = None) -> Reply:
    """A refusal; `retry_after_s` is sent as it is, if there is any."""
    after = None if retry_after_s is None else str(retry_after_s)
    return Reply(status=status, code=code or _CODES.get(status, "error"), retry_after=after)


def hangs(wait_s: float = 30.0) -> Reply:
    """Nothing at all for that long."""
    return generates(wait_s=wait_s)


def cut(after: int = 2, **changes) -> Reply:
    """A connection that breaks after that many pieces."""
    return generates(cut_after=after, **changes)


def malformed(after: int = 2, **changes) -> Reply:
    """A chunk that is no JSON after that many pieces; a whole answer that is no JSON."""
    return generates(broken_after=after, **changes)


def error_event(after: int = 2, **changes) -> Reply:
    """An error event within the stream after that many pieces."""
    return generates(error_after=after, **changes)


_CODES = {
    400: "context_length_exceeded",
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
}


@dataclass
class OpenAIServer:
    """The server's address, its scripts and what it was asked.

    Attributes:
        url: For the client's base_url, with /v1.
        requests: Of every POST: `path`, `headers` (lower case), `body`.
        metrics: What GET /metrics answers, if anything.
    """

    url: str
    requests: list[dict] = field(default_factory=list)
    metrics: str | None = None
    _scripts: dict[str, list[Reply]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def script(self, model: str, *replies: Reply) -> None:
        """What the next requests for this model are answered, the last reply for ever."""
        with self._lock:
            self._scripts[model] = list(replies)

    def models(self) -> list[str]:
        """The models that have a script."""
        return list(self._scripts)

    def next_reply(self, request: dict) -> Reply:
        """Note the request and take its reply from the model's script."""
        with self._lock:
            self.requests.append(request)
            replies = self._scripts.get(request["body"].get("model"), [fails(404)])
            return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def openai_server(port: int = 0) -> Iterator[OpenAIServer]:
    """A running server, on a free port unless one is named; it ends with the block."""
    httpd = _Httpd(("127.0.0.1", port), _Handler)
    httpd.fake = OpenAIServer(f"http://127.0.0.1:{httpd.server_address[1]}/v1")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield httpd.fake
    finally:
        httpd.fake.closing.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    fake: OpenAIServer

    def handle_error(self, request, client_address):
        """Clients that gave up are what the tests are about; anything else is a fault here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _CutError(ConnectionError):
    """The connection is to be broken here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Httpd

    def do_GET(self):
        if self.path == "/metrics" and self.server.fake.metrics is not None:
            self._whole(self.server.fake.metrics.encode())
            return
        models = [{"id": name, "object": "model"} for name in self.server.fake.models()]
        self._whole(json.dumps({"object": "list", "data": models}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.fake.next_reply({"path": self.path, "headers": headers, "body": body})
        self._wait(reply.wait_s)
        if reply.status != 200:
            self._refuse(reply)
            return
        answer = _Answer(reply, body, is_chat=self.path.endswith("/chat/completions"))
        if body.get("stream"):
            self._stream(answer)
        else:
            self._wait(reply.first_s + reply.gap_s * (len(answer.pieces) - 1))
            self._whole(answer.whole(), cut=reply.cut_after is not None)

    def log_message(self, *_arguments):
        """Say nothing."""

    def _wait(self, delay_s):
        if delay_s > 0 and self.server.fake.closing.wait(delay_s):
            raise _CutError

    def _refuse(self, reply):
        content = {"message": f"refused: {reply.code}", "type": "error", "code": reply.code}
        extra = {} if reply.retry_after is None else {"Retry-After": reply.retry_after}
        self._whole(json.dumps({"error": content}).encode(), status=reply.status, extra=extra)

    def _whole(self, content, *, status=200, extra=None, cut=False):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            raise _CutError

    def _stream(self, answer):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        reply = answer.reply
        self._wait(reply.first_s)
        for index, chunk in enumerate(answer.chunks()):
            if index and index < len(answer.pieces):
                self._wait(reply.gap_s)
            if index == reply.cut_after:
                raise _CutError
            if index == reply.error_after:
                self._event('{"error": {"message": "engine died", "type": "server_error"}}')
                break
            self._event('{"choices": [' if index == reply.broken_after else json.dumps(chunk))
        else:
            self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, text):
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class _Answer:
    """A reply to one request, as chunks or whole."""

    def __init__(self, reply, body, *, is_chat):
        self.reply, self.body, self.is_chat = reply, body, is_chat
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if reply.text is None:
            self.pieces = [WORD] * (limit or DEFAULT_TOKENS)
        elif reply.tool_calls:
            self.pieces = [arguments for _, arguments in reply.tool_calls]
        else:
            self.pieces = [f"{word} " for word in reply.text.split(" ")] if reply.text else [""]
            self.pieces[-1] = self.pieces[-1][:-1]
        self.kind = "chat.completion" if is_chat else "text_completion"

    def usage(self):
        """Words in, pieces out."""
        prompt = json.dumps(self.body.get("messages") or self.body.get("prompt") or "")
        words = len(prompt.split())
        return {
            "prompt_tokens": words,
            "completion_tokens": len(self.pieces),
            "total_tokens": words + len(self.pieces),
        }

    def whole(self):
        """The body of an answer that is not streamed."""
        if self.reply.broken_after is not None:
            return b'{"choices": ['
        text = "".join(self.pieces)
        if not self.is_chat:
            content = {"text": text}
        elif self.reply.tool_calls:
            content = {
                "message": {"role": "assistant", "content": None, "tool_calls": self._calls()}
            }
        else:
            content = {"message": {"role": "assistant", "content": text}}
        choice = {"index": 0, "finish_reason": self.reply.finish_reason} | content
        usage = {"usage": self.usage()} if self.reply.has_usage else {}
        return json.dumps(self._head([choice] if self.reply.has_choices else []) | usage).encode()

    def chunks(self):
        """The chunks of a stream: a piece each, the reason to stop, and usage if asked for."""
        for index, piece in enumerate(self.pieces):
            yield self._chunk(self._delta(index, piece), None)
        yield self._chunk({} if self.is_chat else {"text": ""}, self.reply.finish_reason)
        if self.reply.has_usage and (self.body.get("stream_options") or {}).get("include_usage"):
            yield self._head([]) | {"usage": self.usage()}

    def _delta(self, index, piece):
        if not self.is_chat:
            return {"text": piece}
        if self.reply.tool_calls:
            return {"tool_calls": [{"index": index, **self._calls()[index]}]}
        return ({"role": "assistant"} if index == 0 else {}) | {"content": piece}

    def _chunk(self, delta, reason):
        content = {"delta": delta} if self.is_chat else delta
        return self._head([{"index": 0, "finish_reason": reason} | content])

    def _calls(self):
        return [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": text}}
            for i, (name, text) in enumerate(self.reply.tool_calls)
        ]

    def _head(self, choices):
        kind = f"{self.kind}.chunk" if self.is_chat and self.body.get("stream") else self.kind
        head = {"id": "cmpl-1", "object": kind, "created": 0, "model": self.body["model"]}
        return head | {"choices": choices}


if __name__ == "__main__":
    with openai_server(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as _server:
        _server.script("tiny", generates(first_s=0.05, gap_s=0.01))
        sys.stderr.write(f"{_server.url}\n")
        threading.Event().wait()
