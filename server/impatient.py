"""uvicorn's protocols with time-outs that it lacks: slow heads, and clients that do not read."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class _Timer:
    """Cuts a connection off unless it is stopped in time."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.Transport, limit_s: float) -> None:
        self.stop()
        self._handle = asyncio.get_running_loop().call_later(limit_s, transport.abort)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class ImpatientHttp(HttpToolsProtocol):
    """HTTP/1.1 that waits only so long for a request's head, and for answers to be taken."""

    limit_s: ClassVar[float]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head, self._taken = _Timer(), _Timer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """The first head is awaited from now on."""
        super().connection_made(transport)
        self._head.start(transport, self.limit_s)

    def on_message_begin(self) -> None:
        """A head has begun."""
        super().on_message_begin()
        self._head.start(self.transport, self.limit_s)

    def on_headers_complete(self) -> None:
        """The head is whole; the body has a time-out of its own."""
        self._head.stop()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not read what is sent to it."""
        super().pause_writing()
        self._taken.start(self.transport, self.limit_s)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._taken.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._head.stop()
        self._taken.stop()
        super().connection_lost(exc)


class ImpatientSocket(WebSocketsSansIOProtocol):
    """WebSocket that waits only so long for its messages to be taken."""

    limit_s: ClassVar[float]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken = _Timer()

    def pause_writing(self) -> None:
        """The client does not read what is sent to it."""
        super().pause_writing()
        self._taken.start(self.transport, self.limit_s)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._taken.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._taken.stop()
        super().connection_lost(exc)


def impatient(limit_s: float) -> dict[str, Any]:
    """Options `http` and `ws` of uvicorn: both protocols with this time-out in seconds."""
    bound = {"limit_s": limit_s}
    return {
        "http": type("BoundHttp", (ImpatientHttp,), bound),
        "ws": type("BoundSocket", (ImpatientSocket,), bound),
    }
