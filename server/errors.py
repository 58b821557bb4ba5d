"""One JSON shape for every error: {"error": {"code", "message", "details"}}."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError
from starlette.exceptions import HTTPException

from llmserve_env.errors import CapacityReachedError, InvalidInputError, LLMServeError
from server.metrics import ERRORS
from server.problems import InvalidFieldsError
from server.refusals import LaterError

logger = logging.getLogger(__name__)


class ErrorBody(BaseModel):
    """What went wrong: a stable name, a sentence, and one entry per offending field."""

    code: str
    message: str
    details: list[dict[str, Any]]


class ErrorResponse(BaseModel):
    """The body of every answer with a status of 400 or more."""

    error: ErrorBody


def error_content(error: LLMServeError) -> dict[str, Any]:
    """The code, message and details of one of our errors."""
    return {"code": error.code, "message": str(error), "details": list(error.details)}


def error_response(
    status: int, content: dict[str, Any], headers: dict[str, str] | None = None
) -> JSONResponse:
    """The answer that carries this error, which is counted."""
    ERRORS.labels(content["code"]).inc()
    return JSONResponse({"error": content}, status_code=status, headers=headers)


def answer_error(error: LLMServeError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to one of our errors, saying when to come back where that is known."""
    later = {"Retry-After": str(error.retry_after_s)} if isinstance(error, LaterError) else {}
    return error_response(error.http_status, error_content(error), later | dict(headers or {}))


def register_error_handlers(app: FastAPI, *, retry_after_s: Callable[[], int]) -> None:
    """Answer every exception in the one shape; `retry_after_s` is asked when sessions run out."""

    @app.exception_handler(LLMServeError)
    async def _ours(_: Request, error: LLMServeError) -> JSONResponse:
        is_full = isinstance(error, CapacityReachedError)
        return answer_error(error, {"Retry-After": str(retry_after_s())} if is_full else None)

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def _invalid(_: Request, error: RequestValidationError | ValidationError) -> JSONResponse:
        refused = InvalidFieldsError(error)
        return error_response(refused.http_status, error_content(refused))

    @app.exception_handler(UnicodeEncodeError)
    @app.exception_handler(PydanticSerializationError)
    async def _unwritable(_: Request, __: ValueError) -> JSONResponse:
        # OpenEnv's routes echo what they were sent, and JSON can escape what no text may hold.
        refused = InvalidInputError("the body holds half of a surrogate pair, which is not text")
        return error_response(refused.http_status, error_content(refused))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        message = f"{request.method} {request.url.path}: {error.detail}"
        content = {"code": status.name, "message": message, "details": []}
        return error_response(status, content, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        message = "the server made a mistake; its log says more"
        return error_response(status, {"code": status.name, "message": message, "details": []})
