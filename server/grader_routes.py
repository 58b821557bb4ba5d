"""POST /grader: the grade of a session's episode, or of a log that was made elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from grader.grading import grade
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import GradeReport
from server.named_session import ERRORS, body_of, session_name
from server.sessions import Session, SessionStore
from server.wire import GradeRequest, parse_body


def grader_router(store: SessionStore) -> APIRouter:
    """The route that grades what these sessions play, and logs."""
    router = APIRouter(tags=["Grading"], responses=ERRORS)

    @router.post("/grader", openapi_extra=body_of(GradeRequest))
    async def grader(request: Request) -> GradeReport:
        """Grade an episode as it stands: a session's, or that of a log."""
        raw = await request.body()
        # A log of a megabyte takes some time to read.
        wanted = await asyncio.to_thread(parse_body, GradeRequest, raw)
        session_id = session_name(request, wanted.session_id)
        _check_one_subject(session_id, wanted)
        if wanted.episode_log is not None:
            return await asyncio.to_thread(grade, wanted.episode_log)
        if wanted.episode_id is not None:
            return await _grade_of(store.playing(wanted.episode_id))
        return await _grade_of(store.get(session_id))

    return router


async def _grade_of(session: Session) -> GradeReport:
    async with session.lock:
        return await asyncio.to_thread(session.environment.grade)


def _check_one_subject(session_id: str | None, wanted: GradeRequest) -> None:
    named: dict[str, Any] = {
        "session_id": session_id,
        "episode_id": wanted.episode_id,
        "episode_log": wanted.episode_log,
    }
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise InvalidInputError(f"{' and '.join(given)} are given; name one")
