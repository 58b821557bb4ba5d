"""Stands before every route: who may come in, and how often."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Final

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from llmserve_env.errors import LLMServeError
from server.client_address import client_of
from server.errors import answer_error
from server.rate_limits import RateLimits, kind_of
from server.refusals import ShuttingDownError, UnauthorizedError

OPEN_PATH: Final = "/health"
# Both ways to send the token: programs take the first, browsers ask their user for a password.
CHALLENGE: Final = 'Bearer realm="llmserve", Basic realm="llmserve, the token is the password"'


class Gate:
    """ASGI middleware that refuses what comes without the token, too often, or too late."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: SecretStr | None,
        rates: RateLimits,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._app, self._rates, self._is_stopping = app, rates, is_stopping
        self._token = None if token is None else token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one connection in, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = path_of(scope)
        try:
            self._check(scope, path)
        except LLMServeError as error:
            await _refuse(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope, path: str) -> None:
        if path == OPEN_PATH:
            return
        if self._is_stopping():
            raise ShuttingDownError
        if self._token is not None and not _carries(Headers(scope=scope), self._token):
            raise UnauthorizedError
        kind = kind_of(path)
        if kind is not None:
            self._rates.check(client_of(scope), kind)


def path_of(scope: Scope) -> str:
    """The path below the one that the server is mounted at."""
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


def _carries(headers: Headers, token: bytes) -> bool:
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            sent = base64.b64decode(sent, validate=True).decode("latin-1").partition(":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(sent.strip().encode("latin-1", "replace"), token)


async def _refuse(error: LLMServeError, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"WWW-Authenticate": CHALLENGE} if isinstance(error, UnauthorizedError) else {}
    # To a socket it is the answer to the handshake: the client sees its status.
    await answer_error(error, headers)(scope, receive, send)
