"""The layers that every connection passes before it reaches a route, in one place."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server.body_limit import BodyLimit
from server.gate import Gate
from server.live_sockets import LiveSockets
from server.mcp_limits import McpLimits, RpcSessions
from server.named_session import SESSION_HEADER
from server.observe import REQUEST_ID_HEADER, Observe
from server.rate_limits import RateLimits
from server.settings import Settings
from server.socket_guard import SocketGuard
from server.spans import Span


def add_middleware(
    app: FastAPI,
    settings: Settings,
    live: LiveSockets,
    rpc_sessions: RpcSessions,
    span: Span | None,
) -> None:
    """Put them around the application; the last one added is the first one passed.

    Args:
        app: The application.
        settings: Of the server.
        live: Its open sockets.
        rpc_sessions: Sessions of OpenEnv's /mcp.
        span: Makes spans of requests and steps, if anybody wants them.
    """
    rates = RateLimits(settings)
    app.add_middleware(
        SocketGuard,
        limit_bytes=settings.max_body_bytes,
        live=live,
        rates=rates,
        rpc_sessions=rpc_sessions,
        span=span,
    )
    app.add_middleware(McpLimits, rates=rates, sessions=rpc_sessions)
    app.add_middleware(
        BodyLimit, limit_bytes=settings.max_body_bytes, limit_s=settings.request_timeout_s
    )
    app.add_middleware(
        Gate, token=settings.token, rates=rates, is_stopping=lambda: live.is_stopping
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", SESSION_HEADER, REQUEST_ID_HEADER],
            expose_headers=[SESSION_HEADER, REQUEST_ID_HEADER, "Retry-After"],
        )
    app.add_middleware(Observe, span=span)
    if settings.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.proxies))
