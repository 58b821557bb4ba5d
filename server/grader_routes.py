"""POST /grader: the grade of a session's episode, or of a log that was made elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from grader.grading import grade
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import GradeReport
from server.client_address import client_of
from server.jobs import Turns, in_thread
from server.named_session import ERRORS, body_of, parsed, session_name
from server.sessions import SessionStore
from server.wire import GradeRequest


def grader_router(store: SessionStore, turns: Turns) -> APIRouter:
    """The route that grades what these sessions play, and logs, when it is their turn."""
    router = APIRouter(tags=["Grading"], responses=ERRORS)

    @router.post("/grader", openapi_extra=body_of(GradeRequest))
    async def grader(request: Request) -> GradeReport:
        """Grade an episode as it stands: a session's, or that of a log."""
        wanted = await parsed(GradeRequest, request)
        session_id = session_name(request, wanted.session_id)
        _check_one_subject(session_id, wanted)
        if wanted.episode_log is not None:
            async with turns.turn():
                return await in_thread(grade, wanted.episode_log)
        if wanted.episode_id is not None:
            session = store.playing(wanted.episode_id)
        else:
            session = store.get(session_id, client_of(request.scope))
        async with session.lock, turns.turn():
            return await in_thread(session.environment.grade)

    return router


def _check_one_subject(session_id: str | None, wanted: GradeRequest) -> None:
    named: dict[str, Any] = {
        "session_id": session_id,
        "episode_id": wanted.episode_id,
        "episode_log": wanted.episode_log,
    }
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise InvalidInputError(f"{' and '.join(given)} are given; name one")
