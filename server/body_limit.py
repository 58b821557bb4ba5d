"""Reads each request body up to a limit before anything else sees it; longer ones are refused."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmserve_env.errors import PayloadTooLargeError
from server.errors import error_content, error_response

# A refused body is still read this far and thrown away: a connection closed with unread data is
# reset, and the client would see a broken pipe instead of the answer.
MAX_DISCARDED_BYTES = 64 * 1_048_576


class BodyLimit:
    """ASGI middleware that answers 413 to bodies longer than `limit_bytes`."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int) -> None:
        self._app, self._limit_bytes = app, limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body at hand, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if body is None:
            error = PayloadTooLargeError(self._limit_bytes)
            headers = {"Connection": "close"}
            response = error_response(error.http_status, error_content(error), headers)
            await response(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, or None if it is longer than the limit or the client went away."""
        announced = Headers(scope=scope).get("content-length", "0")
        fits = int(announced) <= self._limit_bytes if announced.isdigit() else True
        chunks: list[bytes] = []
        size_bytes = 0
        more = True
        while more and size_bytes <= MAX_DISCARDED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size_bytes += len(chunk)
            fits = fits and size_bytes <= self._limit_bytes
            if fits:
                chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks) if fits else None


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
