"""POST /reset, POST /step and GET /state: an episode over plain HTTP, kept in a session.

OpenEnv's own routes of these names build a new environment for every request, so that a step never
acts on what was reset; these take their place and keep their fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from llmserve_env.models import ServeObservation, ServeState
from server.graded import GradedEnvironment
from server.named_session import ERRORS, SESSION_HEADER, body_of, session_name, where_named
from server.sessions import Session, SessionStore
from server.wire import PlayResponse, ResetRequest, StateResponse, StepRequest, parse_body


def play_router(
    store: SessionStore, make_environment: Callable[[], GradedEnvironment] = GradedEnvironment
) -> APIRouter:
    """The routes that play episodes kept in this store, in environments made by this."""
    router = APIRouter(tags=["Environment Control"], responses=ERRORS)

    @router.post("/reset", response_model=PlayResponse, openapi_extra=body_of(ResetRequest))
    async def reset(request: Request) -> JSONResponse:
        """Start an episode, in a new session unless one is named."""
        wanted = parse_body(ResetRequest, await request.body())
        session_id = session_name(request, wanted.session_id)
        if session_id is None:
            store.make_room()
            environment = make_environment()
            observation = await asyncio.to_thread(environment.reset, wanted)
            return _answer(store.add(environment), observation)
        session = store.get(session_id)
        async with session.lock:
            observation = await asyncio.to_thread(session.environment.reset, wanted)
        return _answer(session, observation)

    @router.post("/step", response_model=PlayResponse, openapi_extra=body_of(StepRequest))
    async def step(request: Request) -> JSONResponse:
        """Hold an action for one window, in the session named or else the most recent one."""
        wanted = parse_body(StepRequest, await request.body())
        session = store.get(session_name(request, wanted.session_id))
        environment, action = session.environment, wanted.action.knobs()
        async with session.lock:
            if environment.takes_time:
                observation = await asyncio.to_thread(environment.step, action)
            else:
                observation = environment.step(action)
        return _answer(session, observation)

    @router.get("/state", response_model=StateResponse, openapi_extra=where_named())
    async def state(request: Request) -> JSONResponse:
        """Where the episode stands, in the session named or else the most recent one."""
        session_id = session_name(request, None)
        if session_id is None and len(store) == 0:
            return _state_answer(None, make_environment().state)
        session = store.get(session_id)
        async with session.lock:
            # In a thread, because the first look at a finished episode grades it.
            reached = await asyncio.to_thread(lambda: session.environment.state)
        return _state_answer(session.session_id, reached)

    @router.delete("/sessions/{session_id}", status_code=HTTPStatus.NO_CONTENT)
    async def close(session_id: str) -> Response:
        """Give the session's place back."""
        store.close(session_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _answer(session: Session, observation: ServeObservation) -> JSONResponse:
    content = {
        "observation": observation.model_dump(mode="json"),
        "reward": observation.reward,
        "done": observation.done,
        "metadata": observation.metadata,
        "session_id": session.session_id,
    }
    return JSONResponse(content, headers={SESSION_HEADER: session.session_id})


def _state_answer(session_id: str | None, reached: ServeState) -> JSONResponse:
    return JSONResponse(reached.model_dump(mode="json") | {"session_id": session_id})
