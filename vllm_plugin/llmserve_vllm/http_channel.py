"""The control channel: a small HTTP server on loopback, in a thread of the engine's process.

    GET    /state                                          what is in force, bounds, lease, engine
    PUT    /knobs   {"knobs": {...}, "holder": "me", "lease_s": 10}    change, and hold the lease
    POST   /lease   {"holder": "me", "lease_s": 10}        hold it for longer
    DELETE /lease   {"holder": "me"}                       vLLM's defaults, now

Every answer but an error is the state. Errors are {"error": {"code", "message", "details"}}.
"""

from __future__ import annotations

import hmac
import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from llmserve_vllm import PLUGIN_VERSION
from llmserve_vllm.control import KnobControl
from llmserve_vllm.knobs import RefusedError, parse_change

HOST: Final = "127.0.0.1"
# Pages in a browser reach loopback, too, under any name that resolves to it.
HOST_NAMES: Final = ("127.0.0.1", "localhost")
MAX_BODY_BYTES: Final = 65_536
READ_TIMEOUT_S: Final = 5.0
SETTLE_LIMIT_S: Final = 1.0

EngineState = Callable[[], dict[str, Any]]


class ControlServer:
    """Serves a control channel until closed."""

    def __init__(
        self, control: KnobControl, engine_state: EngineState, *, port: int, token: str | None
    ) -> None:
        """Start the thread.

        Args:
            control: What is wanted and in force.
            engine_state: What the engine does just now; `is_idle` says that it takes no steps.
            port: On loopback; 0 takes a free one.
            token: That every request must bear; None: none.

        Raises:
            OSError: If the port is taken.
        """
        self._httpd = _Httpd((HOST, port), _Handler)
        self._httpd.control, self._httpd.engine_state = control, engine_state
        self._httpd.token = token
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, name="llmserve-control", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._httpd.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join(timeout=READ_TIMEOUT_S)


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    control: KnobControl
    engine_state: EngineState
    token: str | None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that went away; anything else is a fault here."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = READ_TIMEOUT_S
    server: _Httpd

    def do_GET(self) -> None:
        self._answer({"/state": self._get_state})

    def do_PUT(self) -> None:
        self._answer({"/knobs": self._put_knobs})

    def do_POST(self) -> None:
        self._answer({"/lease": self._post_lease})

    def do_DELETE(self) -> None:
        self._answer({"/lease": self._delete_lease})

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: a controller comes every second."""

    def _get_state(self, _: dict[str, Any]) -> None:
        return

    def _put_knobs(self, body: dict[str, Any]) -> None:
        control = self.server.control
        _expect(body, {"knobs", "holder", "lease_s"})
        change = parse_change(body["knobs"], control.bounds)
        control.set(change, holder=_holder(body), lease_s=_lease_s(body))
        self._settle()

    def _post_lease(self, body: dict[str, Any]) -> None:
        _expect(body, {"holder", "lease_s"})
        self.server.control.renew(holder=_holder(body), lease_s=_lease_s(body))

    def _delete_lease(self, body: dict[str, Any]) -> None:
        _expect(body, {"holder"})
        self.server.control.release(holder=_holder(body))
        self._settle()

    def _settle(self) -> None:
        """Wait for the next step of a busy engine; an idle one takes none before a request comes.

        What is pending then is in force for the first request that comes.
        """
        if not self.server.engine_state()["is_idle"]:
            self.server.control.wait_until_in_force(SETTLE_LIMIT_S)

    def _answer(self, routes: dict[str, Callable[[dict[str, Any]], None]]) -> None:
        try:
            body = self._body()
            self._check_caller()
            if self.path not in routes:
                raise RefusedError(
                    f"no {self.command} {self.path[:100]}; there are GET /state, PUT /knobs, "
                    "POST /lease and DELETE /lease",
                    status=404,
                    code="NOT_FOUND",
                )
            routes[self.path](body)
        except RefusedError as error:
            refusal = {"code": error.code, "message": str(error), "details": error.details}
            self._send(error.status, {"error": refusal})
            return
        engine = self.server.engine_state()
        self._send(
            200,
            {"plugin_version": PLUGIN_VERSION, **self.server.control.state(), "engine": engine},
        )

    def _check_caller(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in HOST_NAMES:
            raise RefusedError(
                f"Host must be one of {', '.join(HOST_NAMES)}", status=403, code="FORBIDDEN"
            )
        token = self.server.token
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
            raise RefusedError(
                "the header Authorization must bear this server's token",
                status=401,
                code="UNAUTHORIZED",
            )

    def _body(self) -> dict[str, Any]:
        """The JSON object that was sent; read first, so that a refusal leaves nothing unread."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise RefusedError(
                f"the body must have a length up to {MAX_BODY_BYTES} bytes",
                status=413,
                code="PAYLOAD_TOO_LARGE",
            )
        text = self.rfile.read(int(length))
        if self.command == "GET":
            return {}
        # A page in a browser cannot send this type without asking first, and is not answered.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError("Content-Type must be application/json", status=415, code="NOT_JSON")
        try:
            body = json.loads(text)
        except ValueError as error:
            raise RefusedError(
                f"the body is no JSON: {error}", status=400, code="NOT_JSON"
            ) from None
        if not isinstance(body, dict):
            raise RefusedError("the body must be a JSON object", status=400, code="NOT_JSON")
        return body

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _expect(body: dict[str, Any], names: set[str]) -> None:
    if set(body) != names:
        raise RefusedError(
            f"the body must have exactly {', '.join(sorted(names))}; got "
            f"{', '.join(sorted(map(str, body))) or 'nothing'}",
            status=400,
            code="INVALID_BODY",
        )


def _holder(body: dict[str, Any]) -> str:
    if not isinstance(body["holder"], str):
        raise RefusedError("holder must be a text", status=400, code="INVALID_LEASE")
    return body["holder"]


def _lease_s(body: dict[str, Any]) -> float:
    value = body["lease_s"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError(
            f"lease_s must be a number, got {value!r}", status=400, code="INVALID_LEASE"
        )
    return float(value)
