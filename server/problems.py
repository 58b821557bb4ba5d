"""Turns a failed validation into one sentence and a list of problems that JSON can carry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ResetOptions, ServeAction

MAX_PROBLEMS = 20
MAX_SHOWN_CHARACTERS = 80
LARGEST_SHOWN_BITS = 64
CODES = {"json_invalid": "INVALID_JSON", "union_tag_invalid": "UNKNOWN_TYPE"}


class InvalidFieldsError(InvalidInputError):
    """A body or message that does not fit its model.

    Attributes:
        details: One entry per problem: field, message, value, and allowed where it is known.
    """

    def __init__(
        self,
        error: ValidationError | RequestValidationError,
        *,
        skip_levels: int = 0,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Read the problems out of pydantic's error.

        Args:
            error: What pydantic found.
            skip_levels: Parts of each location to leave out.
            properties: JSON schemas of the fields; of an action and a reset if left out.
        """
        allowed = _known_fields() if properties is None else _worded(properties)
        problems = list(error.errors())[:MAX_PROBLEMS]
        self.details = [_describe(problem, skip_levels, allowed) for problem in problems]
        self.code = CODES.get(problems[0]["type"], self.code)
        super().__init__("; ".join(map(_sentence, self.details)))


def _describe(
    problem: Mapping[str, Any], skip_levels: int, allowed_values: Mapping[str, str]
) -> dict[str, Any]:
    location = [str(part) for part in problem["loc"][skip_levels:]]
    described = {"field": ".".join(location), "message": problem["msg"]}
    if problem["type"] != "missing":
        described["value"] = _presentable(problem["input"])
    allowed = allowed_values.get(location[-1]) if location else None
    return described if allowed is None else described | {"allowed": allowed}


def _sentence(described: Mapping[str, Any]) -> str:
    allowed = f" ({described['allowed']})" if "allowed" in described else ""
    field = described["field"] or "body"
    if "value" not in described:
        return f"{field}: {described['message']}{allowed}"
    return f"{field}: {described['message']}{allowed}, got {described['value']!r}"


def _presentable(value: Any) -> Any:
    """The value if JSON can carry it in a few characters, else a description of it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        bits = value.bit_length()
        return value if bits <= LARGEST_SHOWN_BITS else f"an integer of {bits} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value[:MAX_SHOWN_CHARACTERS].encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict | list):
        return f"{'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    return type(value).__name__


@cache
def _known_fields() -> dict[str, str]:
    """What each field of an action or a reset may be, in words, from the models' own bounds."""
    properties: dict[str, Any] = {}
    for model in (ServeAction, ResetOptions):
        properties |= model.model_json_schema()["properties"]
    return _worded(properties)


def _worded(properties: Mapping[str, Any]) -> dict[str, str]:
    worded = {name: _in_words(schema) for name, schema in properties.items()}
    return {name: words for name, words in worded.items() if words}


def _in_words(schema: Mapping[str, Any]) -> str:
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "boolean":
        return "true or false"
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['type']} from {schema['minimum']} to {schema['maximum']}"
    return ""
