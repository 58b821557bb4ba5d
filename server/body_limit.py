"""Reads each request body up to a limit before anything else sees it; longer ones are refused."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmserve_env.errors import LLMServeError, PayloadTooLargeError
from server.errors import answer_error
from server.refusals import RequestTimeoutError

# A refused body is still read this far and thrown away: a connection closed with unread data is
# reset, and the client would see a broken pipe instead of the answer.
MAX_DISCARDED_BYTES = 64 * 1_048_576
# Where Gradio takes files, and what an episode file may have.
UPLOAD_PATH = "/web/gradio_api/upload"
MAX_UPLOAD_BYTES = 16 * 1_048_576


class BodyLimit:
    """ASGI middleware that answers 413 to bodies longer than `limit_bytes`, 408 to slow ones.

    Uploads on the web page may be longer: they go to `UPLOAD_PATH`.
    """

    def __init__(self, app: ASGIApp, *, limit_bytes: int, limit_s: float) -> None:
        self._app, self._limit_bytes, self._limit_s = app, limit_bytes, limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body at hand, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope.get("path", "").endswith(UPLOAD_PATH)
        limit_bytes = max(self._limit_bytes, MAX_UPLOAD_BYTES * is_upload)
        try:
            async with asyncio.timeout(self._limit_s):
                body = await self._read(scope, receive, limit_bytes)
        except TimeoutError:
            await _refuse(RequestTimeoutError(self._limit_s), scope, receive, send)
            return
        if body is None:
            await _refuse(PayloadTooLargeError(limit_bytes), scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive, limit_bytes: int) -> bytes | None:
        """The body, or None if it is longer than the limit or the client went away."""
        announced = Headers(scope=scope).get("content-length", "0")
        fits = int(announced) <= limit_bytes if announced.isdigit() else True
        chunks: list[bytes] = []
        size_bytes = 0
        more = True
        while more and size_bytes <= MAX_DISCARDED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size_bytes += len(chunk)
            fits = fits and size_bytes <= limit_bytes
            if fits:
                chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks) if fits else None


async def _refuse(error: LLMServeError, scope: Scope, receive: Receive, send: Send) -> None:
    await answer_error(error, {"Connection": "close"})(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that first hands out the body that was read, then what comes after it."""
    is_handed_out = False

    async def replay() -> Message:
        nonlocal is_handed_out
        if is_handed_out:
            return await receive()
        is_handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
