"""Stands before OpenEnv's /ws: refuses bad messages, and gives errors their own code.

OpenEnv's handler drops unknown reset fields, accepts NaN and negative seeds, and closes the socket
on a message that is not an object. Here such a message is answered with an error, never reaches
OpenEnv, and the socket lives on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmserve_env.errors import InvalidInputError, LLMServeError, PayloadTooLargeError
from server.errors import error_content
from server.openenv_adapter import Refusal, refusal_of_socket
from server.wire import parse_message

SOCKET_PATH = "/ws"


@dataclass(slots=True)
class LiveSockets:
    """How many sockets are open on /ws."""

    count: int = 0


class SocketGuard:
    """ASGI middleware around the socket at /ws; everything else passes untouched."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int, live: LiveSockets) -> None:
        self._app, self._limit_bytes, self._live = app, limit_bytes, live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "websocket" or path != SOCKET_PATH:
            await self._app(scope, receive, send)
            return
        refusal = Refusal()
        refusal_of_socket.set(refusal)
        self._live.count += 1
        try:
            await self._app(
                scope,
                lambda: self._next_good_message(receive, send),
                lambda message: _send_with_code(message, refusal, send),
            )
        finally:
            self._live.count -= 1

    async def _next_good_message(self, receive: Receive, send: Send) -> Message:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                self._check(message.get("text"))
            except LLMServeError as error:
                await send({"type": "websocket.send", "text": error_text(error)})
            else:
                return message

    def _check(self, text: str | None) -> None:
        if text is None:
            raise InvalidInputError("send text frames holding JSON, not binary frames")
        if len(text) > self._limit_bytes:
            raise PayloadTooLargeError(self._limit_bytes)
        parse_message(text)


def error_text(error: LLMServeError) -> str:
    """The socket's message for one of our errors, in OpenEnv's frame."""
    content = error_content(error)
    data = {key: content[key] for key in ("message", "code")} | {"errors": content["details"]}
    return json.dumps({"type": "error", "data": data})


async def _send_with_code(message: Message, refusal: Refusal, send: Send) -> None:
    """Send OpenEnv's answer, or in its place the error of ours that it answers to."""
    if refusal.error is not None and message["type"] == "websocket.send":
        error, refusal.error = refusal.error, None
        message = {"type": "websocket.send", "text": error_text(error)}
    await send(message)
