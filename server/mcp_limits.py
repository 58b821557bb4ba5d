"""Calls over MCP are held to the limits of what they do: what is drawn, what is graded, places."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.tool_play import START
from llmserve_env.errors import LLMServeError
from server.client_address import client_of
from server.errors import answer_error
from server.gate import path_of
from server.live_sockets import LiveSockets
from server.mcp_mount import MCP_PATH
from server.rate_limits import Kind, RateLimits

OPENENV_PATH: Final = "/mcp"
CREATE: Final = "openenv/session/create"
CLOSE: Final = "openenv/session/close"
# OpenEnv looks for idle sessions that often, in shares of the time that they may be idle.
LOOK_SHARE: Final = 0.25


def kind_of_call(call: Any) -> Kind:
    """What a JSON-RPC call counts as; anything that is none counts as a step."""
    if not isinstance(call, Mapping):
        return "step"
    if call.get("method") == CREATE:
        return "reset"
    params = call.get("params")
    name = params.get("name") if isinstance(params, Mapping) else None
    if call.get("method") != "tools/call":
        return "step"
    return "reset" if name == START else "expensive" if name == "grade" else "step"


@dataclass(slots=True)
class _Place:
    client: str
    last_used_s: float
    sockets: int = 0


class RpcSessions:
    """Sessions that clients opened by OpenEnv's /mcp; each takes a place like a socket's."""

    def __init__(
        self, live: LiveSockets, *, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nobody has any yet.

        Args:
            live: Whose limit per client holds for sockets and these sessions together.
            ttl_s: How long OpenEnv lets a session be idle.
            clock: Seconds that never go back.
        """
        self._live, self._clock = live, clock
        self._forgotten_after_s = ttl_s * (1.0 + LOOK_SHARE)
        self._places: dict[str, _Place] = {}

    def __len__(self) -> int:
        """How many there are."""
        self._forget_idle()
        return len(self._places)

    def take(self, client: str) -> None:
        """Take a place for a session to be opened.

        Raises:
            TooManySessionsError: If the client has as many as it may.
        """
        self._forget_idle()
        self._live.take(client)

    def opened(self, client: str, session_id: str | None) -> None:
        """The session of a place that was taken, or None if there came none of it."""
        if session_id is None:
            self._live.give_back(client)
        else:
            self._places[session_id] = _Place(client, self._clock())

    def used(self, session_id: object) -> None:
        """A call names it."""
        if isinstance(session_id, str) and session_id in self._places:
            self._places[session_id].last_used_s = self._clock()

    def closed(self, session_id: object) -> None:
        """It is at an end."""
        place = self._places.pop(session_id, None) if isinstance(session_id, str) else None
        if place is not None:
            self._live.give_back(place.client)

    @contextmanager
    def attached(self, session_id: str | None) -> Iterator[None]:
        """A socket plays on it: as long as that lasts it is not idle."""
        place = self._places.get(session_id) if session_id is not None else None
        if place is None:
            yield
            return
        place.sockets += 1
        try:
            yield
        finally:
            place.sockets -= 1
            place.last_used_s = self._clock()

    def _forget_idle(self) -> None:
        deadline_s = self._clock() - self._forgotten_after_s
        idle = [
            session_id
            for session_id, place in self._places.items()
            if not place.sockets and place.last_used_s < deadline_s
        ]
        for session_id in idle:
            self.closed(session_id)


class McpLimits:
    """ASGI middleware before both MCP endpoints; behind the one that reads bodies."""

    def __init__(self, app: ASGIApp, *, rates: RateLimits, sessions: RpcSessions) -> None:
        self._app, self._rates, self._sessions = app, rates, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = path_of(scope) if scope["type"] == "http" else ""
        if path not in (OPENENV_PATH, MCP_PATH) or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        message = await receive()
        call = parsed_call(message.get("body", b""))
        client = client_of(scope)
        try:
            for each in call if isinstance(call, list) else [call]:
                # As a step it was counted at the gate.
                if (kind := kind_of_call(each)) != "step":
                    self._rates.check(client, kind)
            method = call.get("method") if isinstance(call, dict) else None
            if path == OPENENV_PATH and method == CREATE:
                self._sessions.take(client)
        except LLMServeError as error:
            await answer_error(error)(scope, receive, send)
            return
        again = _first(message, receive)
        if path == OPENENV_PATH and isinstance(call, dict):
            await self._serve(client, call, (scope, again, send))
        else:
            await self._app(scope, again, send)

    async def _serve(
        self, client: str, call: dict[str, Any], connection: tuple[Scope, Receive, Send]
    ) -> None:
        """Serve a call to OpenEnv's endpoint, and keep the book of its sessions."""
        scope, receive, send = connection
        params = call.get("params")
        self._sessions.used(params.get("session_id") if isinstance(params, dict) else None)
        if call.get("method") not in (CREATE, CLOSE):
            await self._app(scope, receive, send)
            return
        answer: list[bytes] = []

        async def send_and_keep(message: Message) -> None:
            if message["type"] == "http.response.body":
                answer.append(message.get("body", b""))
            await send(message)

        session_id = None
        try:
            await self._app(scope, receive, send_and_keep)
        finally:
            content = parsed_call(b"".join(answer))
            result = content.get("result") if isinstance(content, dict) else None
            if isinstance(result, dict):
                session_id = result.get("session_id")
            if call.get("method") == CREATE:
                self._sessions.opened(client, session_id)
            else:
                self._sessions.closed(session_id)


def parsed_call(body: bytes | str) -> Any:
    """The JSON, or None if it is none: then the endpoint says so."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _first(message: Message, receive: Receive) -> Receive:
    """A receive that hands this message out first."""
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
