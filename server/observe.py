"""Counts, times and logs every request, and gives it an id."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.client_address import client_of
from server.errors import answer_error
from server.logs import REQUESTS_LOGGER, SHOWN_ID_CHARACTERS, Played, request_id_of
from server.metrics import REQUEST_SECONDS, REQUESTS
from server.refusals import ShuttingDownError
from server.spans import Span

logger = logging.getLogger(REQUESTS_LOGGER)

REQUEST_ID_HEADER: Final = "X-Request-ID"
GOOD_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
METHODS: Final = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})
# Paths of applications inside the application, whose routes are not ours.
MOUNTED: Final = ("/web", "/docs-assets")
# Asked every few seconds by whoever watches the server.
PROBES: Final = frozenset({"/health", "/metrics"})
NO_ANSWER: Final = 499
SESSIONS_PATH: Final = "/sessions/"


class Observe:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, span: Span | None = None) -> None:
        self._app, self._span = app, span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection and write down what became of it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        request_id_of.set(request_id)
        if scope["type"] == "websocket":  # the guard of /ws writes its own line
            await self._app(scope, receive, send)
            return
        status = NO_ANSWER
        began_s = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # The server stops, and this took longer than it could wait. If an answer has begun,
            # it ends where it is.
            if status == NO_ANSWER:
                await answer_error(ShuttingDownError())(scope, receive, send_with_id)
        finally:
            self._write_down(scope, status, time.perf_counter() - began_s)

    def _write_down(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        REQUESTS.labels(route, method, status).inc()
        REQUEST_SECONDS.labels(route).observe(seconds)
        level = logging.DEBUG if route in PROBES else logging.INFO
        is_logged = logger.isEnabledFor(level)
        if not is_logged and self._span is None:
            return
        fields = _fields(scope, status, seconds)
        if is_logged:
            logger.log(level, "%s %s", method, _shown_path(scope), extra={"fields": fields})
        if self._span is not None and route not in PROBES:
            # Without the path: it may name one, too.
            named = {"request_id": request_id_of.get(), "method": method, "route": route}
            self._span(f"{method} {route}", seconds, fields | named, _parent(scope))


def _fields(scope: Scope, status: int, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "client": client_of(scope),
        "status": status,
        "duration_ms": round(1e3 * seconds, 2),
    }
    played = scope.get("state", {}).get("played")
    if isinstance(played, Played):
        fields |= played.fields()
    return fields


def route_of(scope: Scope) -> str:
    """The pattern of the route that answered, so that paths with ids count as one."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    mounted = (prefix for prefix in MOUNTED if scope["path"].startswith(prefix))
    return next(mounted, "other")


def _shown_path(scope: Scope) -> str:
    """Without the query, and with the beginning of a session's id alone: it is a key."""
    path: str = scope["path"]
    if not path.startswith(SESSIONS_PATH):
        return path
    return path[: len(SESSIONS_PATH) + SHOWN_ID_CHARACTERS]


def _parent(scope: Scope) -> str | None:
    headers = scope["headers"]
    return next(
        (value.decode("latin-1") for name, value in headers if name == b"traceparent"), None
    )


def _request_id(scope: Scope) -> str:
    """The id that the client gave, if it is one, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and GOOD_ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex
