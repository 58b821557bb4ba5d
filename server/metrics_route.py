"""GET /metrics: what the server counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from server.metrics import SESSION_LIMIT, SESSIONS


def metrics_router(
    *, limit: int, count_sessions: Callable[[], int], count_sockets: Callable[[], int]
) -> APIRouter:
    """The route; sessions are counted when it is asked."""
    SESSION_LIMIT.set(limit)
    SESSIONS.labels("http").set_function(count_sessions)
    SESSIONS.labels("ws").set_function(count_sockets)
    router = APIRouter(tags=["Environment Info"])

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Sessions, steps, times, errors and grades, in the text form of Prometheus."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
