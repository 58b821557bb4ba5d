"""POST /reset, POST /step and GET /state: an episode over plain HTTP, kept in a session.

OpenEnv's own routes of these names build a new environment for every request, so that a step never
acts on what was reset; these take their place and keep their fields.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeObservation
from server.errors import ErrorResponse
from server.sessions import Session, SessionStore
from server.wire import PlayResponse, ResetRequest, StateResponse, StepRequest, parse_body
from simulator.environment import ServingEnvironment

SESSION_HEADER = "X-Session-ID"
SESSION_QUERY = "session_id"
DEFINITIONS = "#/$defs/"
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "Refused; the message says what is right."}
}


def play_router(store: SessionStore) -> APIRouter:
    """The routes that play episodes kept in this store."""
    router = APIRouter(tags=["Environment Control"], responses=ERRORS)

    @router.post("/reset", response_model=PlayResponse, openapi_extra=_body_of(ResetRequest))
    async def reset(request: Request) -> JSONResponse:
        """Start an episode, in a new session unless one is named."""
        wanted = parse_body(ResetRequest, await request.body())
        session_id = _session_id(request, wanted.session_id)
        if session_id is None:
            store.make_room()
            environment = ServingEnvironment()
            observation = await asyncio.to_thread(environment.reset, wanted)
            return _answer(store.add(environment), observation)
        session = store.get(session_id)
        async with session.lock:
            observation = await asyncio.to_thread(session.environment.reset, wanted)
        return _answer(session, observation)

    @router.post("/step", response_model=PlayResponse, openapi_extra=_body_of(StepRequest))
    async def step(request: Request) -> JSONResponse:
        """Hold an action for one window, in the session named or else the most recent one."""
        wanted = parse_body(StepRequest, await request.body())
        session = store.get(_session_id(request, wanted.session_id))
        async with session.lock:
            observation = session.environment.step(wanted.action.knobs())
        return _answer(session, observation)

    @router.get("/state", response_model=StateResponse, openapi_extra=_parameters())
    async def state(request: Request) -> JSONResponse:
        """Where the episode stands, in the session named or else the most recent one."""
        session_id = _session_id(request, None)
        if session_id is None and len(store) == 0:
            return _state_answer(None, ServingEnvironment())
        session = store.get(session_id)
        async with session.lock:
            return _state_answer(session.session_id, session.environment)

    @router.delete("/sessions/{session_id}", status_code=HTTPStatus.NO_CONTENT)
    async def close(session_id: str) -> Response:
        """Give the session's place back."""
        store.close(session_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _answer(session: Session, observation: ServeObservation) -> JSONResponse:
    session.is_finished = observation.done
    content = {
        "observation": observation.model_dump(mode="json"),
        "reward": observation.reward,
        "done": observation.done,
        "metadata": observation.metadata,
        "session_id": session.session_id,
    }
    return JSONResponse(content, headers={SESSION_HEADER: session.session_id})


def _state_answer(session_id: str | None, environment: ServingEnvironment) -> JSONResponse:
    return JSONResponse(environment.state.model_dump(mode="json") | {"session_id": session_id})


def _session_id(request: Request, in_body: str | None) -> str | None:
    """The session that the request names in its body, header or query, if any.

    Raises:
        InvalidInputError: If it names two different ones.
    """
    named = {
        in_body,
        request.headers.get(SESSION_HEADER),
        request.query_params.get(SESSION_QUERY),
    } - {None}
    if len(named) > 1:
        raise InvalidInputError("body, header and query name different sessions; name one")
    return named.pop() if named else None


def _parameters() -> dict[str, Any]:
    """OpenAPI's description of the two places beside the body that may name the session."""
    schema = {"type": "string"}
    places = (("header", SESSION_HEADER), ("query", SESSION_QUERY))
    return {
        "parameters": [
            {"in": place, "name": name, "required": False, "schema": schema}
            for place, name in places
        ]
    }


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a body that the route reads itself."""
    schema = model.model_json_schema()
    records = schema.pop("$defs", {})
    schema["properties"] = {
        name: records[prop["$ref"].removeprefix(DEFINITIONS)] if "$ref" in prop else prop
        for name, prop in schema["properties"].items()
    }
    body = {"content": {"application/json": {"schema": schema}}, "required": "required" in schema}
    return _parameters() | {"requestBody": body}
