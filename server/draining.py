"""Serves until told to stop, and then lets what runs come to its end."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from server.impatient import impatient
from server.live_sockets import LiveSockets
from server.settings import Settings

logger = logging.getLogger("uvicorn.error")

# Up to so many times its limit a message is read and answered with an error; a longer one closes
# the socket with code 1009.
SOCKET_BYTES_PER_BYTE: Final = 4
SHORTEST_REST_S: Final = 1


class DrainingServer(uvicorn.Server):
    """uvicorn, which on SIGTERM takes nothing new and first lets sockets answer and close."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        live: LiveSockets,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        """Take what is served.

        Args:
            app: The application.
            settings: Of the server.
            live: The application's sockets.
            on_started: Is called once the server listens.
        """
        super().__init__(_config(app, settings))
        self._live, self._grace_s, self._on_started = live, settings.shutdown_grace_s, on_started

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. To be told to by SIGTERM is no failure, so that is not raised again at the end."""
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets=sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, drain, then end as uvicorn does: requests get the rest of the grace."""
        began_s = time.monotonic()
        for server in self.servers:
            server.close()
        logger.info("Letting %d sockets answer and close", self._live.count)
        await self._live.drain(self._grace_s)
        left_s = began_s + self._grace_s - time.monotonic()
        self.config.timeout_graceful_shutdown = max(SHORTEST_REST_S, math.ceil(left_s))
        await super().shutdown(sockets)


def watch_sockets(app: FastAPI, live: LiveSockets) -> None:
    """End sockets that are idle for too long, while the application runs."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[Any]:
        async with inner(running) as state:
            watching = asyncio.create_task(live.watch())
            try:
                yield state
            finally:
                watching.cancel()

    app.router.lifespan_context = lifespan


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # configured already
        access_log=False,  # there is a line per request of our own
        # X-Forwarded-For is read by the application, from trusted proxies alone.
        proxy_headers=False,
        server_header=False,
        ws_max_size=SOCKET_BYTES_PER_BYTE * settings.max_body_bytes,
        # An observation is a kilobyte: packing it costs more than sending it.
        ws_per_message_deflate=False,
        **impatient(settings.request_timeout_s),
    )
