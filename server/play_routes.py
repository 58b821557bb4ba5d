"""POST /reset, POST /step and GET /state: an episode over plain HTTP, kept in a session.

OpenEnv's own routes of these names build a new environment for every request, so that a step never
acts on what was reset; these take their place and keep their fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic_core import to_json

from llmserve_env.models import EpisodeLog, ServeObservation, ServeState
from server.client_address import client_of
from server.graded import GradedEnvironment
from server.logs import Played
from server.named_session import ERRORS, SESSION_HEADER, body_of, parsed, session_name, where_named
from server.sessions import Session, SessionStore
from server.wire import PlayResponse, ResetRequest, StateResponse, StepRequest

JSON: Final = "application/json"
SESSION_PARAMETER: Final = {
    "in": "path",
    "name": "session_id",
    "required": True,
    "schema": {"type": "string"},
}


class _DirectRoute(APIRoute):
    """Calls its function with the request and nothing else, and sends what it returns.

    FastAPI looks for dependencies and validates what is returned; there are none here, and the
    records are valid as they are made. It is a tenth of a step's time.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def play_router(
    store: SessionStore, make_environment: Callable[[], GradedEnvironment] = GradedEnvironment
) -> APIRouter:
    """The routes that play episodes kept in this store, in environments made by this."""
    router = APIRouter(tags=["Environment Control"], responses=ERRORS, route_class=_DirectRoute)

    @router.post("/reset", response_model=PlayResponse, openapi_extra=body_of(ResetRequest))
    async def reset(request: Request) -> Response:
        """Start an episode, or go on with a log's, in a new session unless one is named."""
        wanted = await parsed(ResetRequest, request)
        session_id = session_name(request, wanted.session_id)
        if session_id is None:
            owner = client_of(request.scope)
            store.make_room(owner)
            environment = make_environment()
            observation = await asyncio.to_thread(_start, environment, wanted)
            return _answer(request, store.add(environment, owner), observation)
        session = store.get(session_id)
        async with session.lock:
            observation = await asyncio.to_thread(_start, session.environment, wanted)
        return _answer(request, session, observation)

    @router.post("/step", response_model=PlayResponse, openapi_extra=body_of(StepRequest))
    async def step(request: Request) -> Response:
        """Hold an action for one window, in the session named or else your most recent one."""
        wanted = await parsed(StepRequest, request)
        session = store.get(session_name(request, wanted.session_id), client_of(request.scope))
        environment, action = session.environment, wanted.action.knobs()
        async with session.lock:
            if environment.takes_time:
                observation = await asyncio.to_thread(environment.step, action)
            else:
                observation = environment.step(action)
        return _answer(request, session, observation)

    @router.get("/state", response_model=StateResponse, openapi_extra=where_named())
    async def state(request: Request) -> JSONResponse:
        """Where the episode stands, in the session named or else your most recent one."""
        session_id = session_name(request, None) or store.latest_of(client_of(request.scope))
        if session_id is None:
            return _state_answer(None, make_environment().state)
        session = store.get(session_id)
        async with session.lock:
            # In a thread, because the first look at a finished episode grades it.
            reached = await asyncio.to_thread(lambda: session.environment.state)
        return _state_answer(session.session_id, reached)

    @router.get("/episode_log", response_model=EpisodeLog, openapi_extra=where_named())
    async def episode_log(request: Request) -> Response:
        """The episode so far, from which POST /reset goes on and POST /grader grades."""
        session = store.get(session_name(request, None), client_of(request.scope))
        async with session.lock:
            text = await asyncio.to_thread(lambda: session.environment.log().model_dump_json())
        return Response(text, media_type=JSON)

    @router.delete(
        "/sessions/{session_id}",
        status_code=HTTPStatus.NO_CONTENT,
        openapi_extra={"parameters": [SESSION_PARAMETER]},
    )
    async def close(request: Request) -> Response:
        """Give the session's place back."""
        store.close(request.path_params["session_id"])
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _start(environment: GradedEnvironment, wanted: ResetRequest) -> ServeObservation:
    if wanted.episode_log is None:
        return environment.reset(wanted)
    return environment.resume(wanted.episode_log, wanted.episode_id)


def _answer(request: Request, session: Session, observation: ServeObservation) -> Response:
    request.state.played = Played.of(session.session_id, observation)
    content = {
        "observation": observation,
        "reward": observation.reward,
        "done": observation.done,
        "metadata": observation.metadata,
        "session_id": session.session_id,
    }
    return Response(
        to_json(content, inf_nan_mode="null"),
        media_type=JSON,
        headers={SESSION_HEADER: session.session_id},
    )


def _state_answer(session_id: str | None, reached: ServeState) -> JSONResponse:
    return JSONResponse(reached.model_dump(mode="json") | {"session_id": session_id})
