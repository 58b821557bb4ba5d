"""Which session a request means, and how OpenAPI describes the routes that read their own body."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import Request
from pydantic import BaseModel

from llmserve_env.errors import InvalidInputError
from server.errors import ErrorResponse
from server.wire import Body, parse_body

SESSION_HEADER = "X-Session-ID"
SESSION_QUERY = "session_id"
DEFINITIONS = "#/$defs/"
# A log of a megabyte takes some time to read.
LONG_BODY_BYTES: Final = 16_384
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "Refused; the message says what is right."}
}


def session_name(request: Request, in_body: str | None) -> str | None:
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


async def parsed(model: type[Body], request: Request) -> Body:
    """The request's body as this model, read in a thread if it is long.

    Raises:
        InvalidFieldsError: As `parse_body`.
    """
    raw = await request.body()
    if len(raw) < LONG_BODY_BYTES:
        return parse_body(model, raw)
    return await asyncio.to_thread(parse_body, model, raw)


def where_named() -> dict[str, Any]:
    """OpenAPI's description of the two places beside the body that may name the session."""
    schema = {"type": "string"}
    places = (("header", SESSION_HEADER), ("query", SESSION_QUERY))
    return {
        "parameters": [
            {"in": place, "name": name, "required": False, "schema": schema}
            for place, name in places
        ]
    }


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a body that the route reads itself, and of `where_named`."""
    schema = model.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    body = {"content": {"application/json": {"schema": schema}}, "required": "required" in schema}
    return where_named() | {"requestBody": body}


def _inlined(node: Any, records: dict[str, Any]) -> Any:
    """The schema with every reference replaced by what it refers to."""
    if isinstance(node, dict):
        if "$ref" in node:
            return _inlined(records[node["$ref"].removeprefix(DEFINITIONS)], records)
        return {key: _inlined(value, records) for key, value in node.items()}
    return [_inlined(value, records) for value in node] if isinstance(node, list) else node
