"""GET /metrics: what the server counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from server.metrics import SESSION_LIMIT, SESSIONS


def metrics_router(*, limit: int, counts: Mapping[str, Callable[[], int]]) -> APIRouter:
    """The route; sessions are counted, by how they are reached, when it is asked."""
    SESSION_LIMIT.set(limit)
    for transport, count in counts.items():
        SESSIONS.labels(transport).set_function(count)
    router = APIRouter(tags=["Environment Info"])

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Sessions, steps, times, errors and grades, in the text form of Prometheus."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
