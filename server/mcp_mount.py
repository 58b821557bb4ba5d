"""A complete MCP server at /mcp-server: streamable HTTP with initialize, an episode per session.

OpenEnv's own /mcp answers tools/list and tools/call alone, which no MCP host can connect to.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from anyio import ClosedResourceError
from fastapi import FastAPI
from fastmcp.server.dependencies import get_http_request
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.client_address import client_of
from server.graded import GradedEnvironment
from server.jobs import Turns
from server.mcp_seats import ClientSeats
from server.mcp_tools import serving_mcp
from server.sessions import SessionStore
from server.settings import Settings

MCP_PATH: Final = "/mcp-server"
# A connection without an episode costs little, and must not keep anybody from playing.
CONNECTIONS_PER_EPISODE: Final = 16


def mount_mcp(
    app: FastAPI,
    settings: Settings,
    make_environment: Callable[[], GradedEnvironment],
    turns: Turns,
) -> SessionStore:
    """Put the MCP server into the application, which starts and stops it; its episodes.

    The limits of episodes over plain HTTP hold for those played here, too, what is idle for as
    long is closed, and grades wait for the same turns.
    """
    store = SessionStore(
        limit=settings.max_sessions,
        ttl_s=settings.session_ttl_s,
        limit_per_owner=settings.max_sessions_per_client,
    )
    seats = ClientSeats(
        store, make_environment, owner_of_call=lambda: client_of(get_http_request().scope)
    )
    served = serving_mcp(seats, is_real=settings.mode == "real", turns=turns).http_app(
        # A page in a browser cannot reach a server on localhost by a name of its own (DNS
        # rebinding), whatever other clients it has.
        path=MCP_PATH,
        host_origin_protection="auto",
    )
    # A route and no mount: a mount would redirect to a path that ends with a slash.
    app.router.routes.append(Route(MCP_PATH, endpoint=_Leaving(served, seats)))
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def both(running: FastAPI) -> AsyncIterator[Any]:
        async with outer(running) as state, served.lifespan(served):
            # FastMCP makes it when it starts, and has no options for these two.
            manager = served.routes[0].endpoint.session_manager  # type: ignore[attr-defined]
            manager.max_sessions = CONNECTIONS_PER_EPISODE * settings.max_sessions
            manager.session_idle_timeout = settings.session_ttl_s
            yield state

    app.router.lifespan_context = both
    logging.getLogger("mcp.server.streamable_http").addFilter(_is_no_farewell)
    return store


class _Leaving:
    """The MCP server, whose clients give their place back when they end their session."""

    def __init__(self, app: ASGIApp, seats: ClientSeats) -> None:
        self._app, self._seats = app, seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)
        if scope["method"] == "DELETE":
            self._seats.leave(Headers(scope=scope).get(MCP_SESSION_ID_HEADER, ""))


def _is_no_farewell(record: logging.LogRecord) -> bool:
    """The library logs a traceback whenever a client ends its session while it listens."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, ClosedResourceError)
