"""Stands before OpenEnv's /ws: refuses bad messages, and gives errors their own code.

OpenEnv's handler drops unknown reset fields, accepts NaN and negative seeds, and closes the socket
on a message that is not an object. Here such a message is answered with an error, never reaches
OpenEnv, and the socket lives on. A step that needs no thread is answered here as well, with what
OpenEnv would answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs

from openenv.core.env_server.serialization import serialize_observation
from openenv.core.env_server.types import WSObservationResponse
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmserve_env.errors import InvalidInputError, LLMServeError, PayloadTooLargeError
from llmserve_env.models import ServeObservation
from server.client_address import client_of
from server.errors import answer_error, error_content
from server.gate import path_of
from server.live_sockets import LiveSocket, LiveSockets
from server.logs import REQUESTS_LOGGER, Played, request_id_of
from server.mcp_limits import RpcSessions, kind_of_call, parsed_call
from server.metrics import ERRORS, MESSAGES
from server.openenv_adapter import Exchange, exchange_of_socket
from server.rate_limits import RateLimits
from server.refusals import TooManySessionsError
from server.spans import Span
from server.wire import BareMessage, McpMessage, SocketRequest, StepMessage, parse_message

logger = logging.getLogger(REQUESTS_LOGGER)

SOCKET_PATH: Final = "/ws"
HANDED_ON_EVERY_S: Final = 0.5
# Of JSON-RPC: the server's own errors begin here.
SERVER_ERROR: Final = -32_000


class SocketGuard:
    """ASGI middleware around the socket at /ws; of other sockets it holds the limits alone."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit_bytes: int,
        live: LiveSockets,
        rates: RateLimits,
        rpc_sessions: RpcSessions,
        span: Span | None = None,
    ) -> None:
        self._app, self._limit_bytes, self._span = app, limit_bytes, span
        self._live, self._rates, self._rpc_sessions = live, rates, rpc_sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        client, began_s = client_of(scope), time.perf_counter()
        try:
            with self._live.one(client, send) as socket:
                try:
                    await self._serve(scope, receive, socket, client)
                except asyncio.CancelledError:
                    # The server stops, and this took longer than it could wait.
                    socket.closed_for = socket.closed_for or "restart"
        except TooManySessionsError as error:
            await answer_error(error)(scope, receive, send)
            return
        fields: dict[str, Any] = {"client": client, "closed_by": socket.closed_for or "client"}
        fields |= {"duration_ms": round(1e3 * (time.perf_counter() - began_s))}
        logger.info("WS %s", scope["path"], extra={"fields": fields})

    async def _serve(self, scope: Scope, receive: Receive, socket: LiveSocket, client: str) -> None:
        if path_of(scope) == SOCKET_PATH:
            with self._rpc_sessions.attached(_session_asked_for(scope)):
                await self._serve_episodes(scope, receive, socket, client)
            return

        async def send(message: Message) -> None:
            await self._send(socket, message)

        await self._app(scope, lambda: self._next_message(receive, socket, client), send)

    async def _serve_episodes(
        self, scope: Scope, receive: Receive, socket: LiveSocket, client: str
    ) -> None:
        exchange = Exchange()
        exchange_of_socket.set(exchange)

        handed_on = _HandedOn()

        async def send(message: Message) -> None:
            if self._span is not None and exchange.observation is not None:
                played = _played(exchange.observation) | {"client": client}
                took_s = time.monotonic() - socket.last_used_s
                self._span(f"WS {SOCKET_PATH}", took_s, played)
            await self._send(socket, _with_code(message, exchange))

        async def next_for_openenv() -> Message:
            while True:
                message, read = await self._next_good_message(receive, socket, client)
                if isinstance(read, BareMessage) and read.type == "state" and exchange.serving:
                    await exchange.serving.prepare_state()
                answer = None if handed_on.is_due(socket) else _answer_at_once(read, exchange)
                if answer is None:
                    handed_on.at_s = socket.last_used_s
                    return message
                await send(answer)

        await self._app(scope, next_for_openenv, send)

    async def _send(self, socket: LiveSocket, message: Message) -> None:
        await socket.answer(message)
        if message["type"] in ("websocket.accept", "websocket.send"):
            await self._live.answered(socket)

    async def _next_message(self, receive: Receive, socket: LiveSocket, client: str) -> Message:
        """The next call of OpenEnv's socket for MCP; one too many is refused."""
        while True:
            message = await socket.next(receive)
            if message["type"] != "websocket.receive":
                return message
            self._live.touch(socket)
            socket.is_busy = False  # not every call is answered
            call = parsed_call(message.get("text") or "")
            try:
                self._rates.check(client, kind_of_call(call))
            except LLMServeError as error:
                text = rpc_error_text(error, call)
                await self._send(socket, {"type": "websocket.send", "text": text})
            else:
                return message

    async def _next_good_message(
        self, receive: Receive, socket: LiveSocket, client: str
    ) -> tuple[Message, SocketRequest | None]:
        """The next message that may be answered, and what it says."""
        while True:
            message = await socket.next(receive)
            if message["type"] != "websocket.receive":
                return message, None
            self._live.touch(socket)
            try:
                read = self._checked(message.get("text"), client)
            except LLMServeError as error:
                await self._send(socket, {"type": "websocket.send", "text": error_text(error)})
            else:
                return message, read

    def _checked(self, text: str | None, client: str) -> SocketRequest:
        if text is None:
            raise InvalidInputError("send text frames holding JSON, not binary frames")
        if len(text) > self._limit_bytes:
            raise PayloadTooLargeError(self._limit_bytes)
        read = parse_message(text)
        if isinstance(read, McpMessage):
            self._rates.check(client, kind_of_call(read.data))
        else:
            self._rates.check(client, "reset" if read.type == "reset" else "step")
        _messages(read.type).inc()
        return read


@dataclass(slots=True)
class _HandedOn:
    """When OpenEnv last saw a message of a socket, which it takes for the session's last use."""

    at_s: float = -math.inf

    def is_due(self, socket: LiveSocket) -> bool:
        """Whether it has to see this one."""
        return socket.last_used_s - self.at_s > HANDED_ON_EVERY_S


def _answer_at_once(read: SocketRequest | None, exchange: Exchange) -> Message | None:
    """What OpenEnv would answer to a step that needs no thread; None for everything else.

    Its own way there takes as long as the window itself.
    """
    if not isinstance(read, StepMessage) or exchange.serving is None:
        return None
    try:
        observation = exchange.serving.step_at_once(read.data)
    except LLMServeError as error:
        return {"type": "websocket.send", "text": error_text(error)}
    if observation is None:
        return None
    response = WSObservationResponse(data=serialize_observation(observation))
    return {"type": "websocket.send", "text": response.model_dump_json()}


@cache
def _messages(kind: str) -> Counter:
    return MESSAGES.labels(kind)


def error_text(error: LLMServeError) -> str:
    """The socket's message for one of our errors, in OpenEnv's frame; it is counted."""
    ERRORS.labels(error.code).inc()
    content = error_content(error)
    data = {key: content[key] for key in ("message", "code")} | {"errors": content["details"]}
    return json.dumps({"type": "error", "data": data})


def rpc_error_text(error: LLMServeError, call: Any) -> str:
    """The same as an answer to a JSON-RPC call."""
    ERRORS.labels(error.code).inc()
    content = error_content(error)
    asked = call.get("id") if isinstance(call, dict) else None
    told = {"code": SERVER_ERROR, "message": content["message"], "data": {"code": content["code"]}}
    return json.dumps({"jsonrpc": "2.0", "id": asked, "error": told})


def _session_asked_for(scope: Scope) -> str | None:
    named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_id")
    return named[0] if named else None


def _with_code(message: Message, exchange: Exchange) -> Message:
    """OpenEnv's answer, or in its place the error of ours that it answers to."""
    if message["type"] != "websocket.send":
        return message
    if exchange.error is not None:
        error, exchange.error = exchange.error, None
        return {"type": "websocket.send", "text": error_text(error)}
    if exchange.observation is not None:
        observation, exchange.observation = exchange.observation, None
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("WS %s", SOCKET_PATH, extra={"fields": _played(observation)})
    return message


def _played(observation: ServeObservation) -> dict[str, Any]:
    request_id = request_id_of.get() or ""  # a socket's session has no other name
    return Played.of(request_id, observation).fields() | {"request_id": request_id}
