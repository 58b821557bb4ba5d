"""GET and POST /baseline: what the baseline agents score."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request

from server.baselines import BaselineRequest, BaselineResponse, Baselines
from server.errors import ErrorResponse
from server.llm_baseline import LlmBaseline, LlmBaselineResponse
from server.wire import parse_body

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "Refused; the message says what is right."}
}


def baseline_router(baselines: Baselines, llm: LlmBaseline) -> APIRouter:
    """The routes that play the baselines and remember their scores."""
    router = APIRouter(tags=["Grading"], responses=ERRORS)
    body = {"content": {"application/json": {"schema": BaselineRequest.model_json_schema()}}}

    @router.get("/baseline")
    async def usual_baselines(
        use_openai: bool = Query(default=False, description="Let a language model play instead."),
    ) -> BaselineResponse | LlmBaselineResponse:
        """The usual baselines on every task, on the first test seed; or a language model's.

        The model plays once per process, for some minutes, if the operator set a key.
        """
        return await (llm.answer() if use_openai else baselines.answer(BaselineRequest()))

    @router.post("/baseline", openapi_extra={"requestBody": body | {"required": False}})
    async def chosen_baselines(request: Request) -> BaselineResponse:
        """The baselines asked for; an empty body asks for the usual ones."""
        return await baselines.answer(parse_body(BaselineRequest, await request.body()))

    return router
