"""A task's knobs -> the schema of a tool; what a model answered -> an action, strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.knobs import KnobMenu
from agents.llm_calls import Answer, CallFailedError, Failure
from llmserve_env.models import KNOBS, ServeAction
from simulator.deployment import build_deployment

TOOL: Final = "set_config"
HOLD: Final = "hold_windows"
SWITCHED: Final = ("quantization_tier", "prefill_decode_split")
# What a model decides stands at the end of what it says; only this much of it is searched.
SEARCHED_CHARACTERS: Final = 50_000
_OBJECT_START: Final = re.compile(r"\{")


class Decision(NamedTuple):
    """What a model wants: an action, and for how many windows; None if it did not say."""

    action: ServeAction
    hold_windows: int | None


class _Hold(BaseModel):
    model_config = ConfigDict(extra="ignore")
    hold_windows: int | None = Field(default=None, strict=True, ge=1)


class ActionReader:
    """The knobs of one task as a tool, and the reader of its calls.

    Attributes:
        schema: JSON schema of the tool's arguments: the knobs that move, all optional, and HOLD.
    """

    def __init__(self, menu: KnobMenu, *, max_hold_windows: int) -> None:
        """Derive the schema from ServeAction and the task."""
        self._max_hold_windows = max_hold_windows
        self._menu = menu
        self._moving = [knob for knob in KNOBS if menu.moves(knob)]
        hold = {
            "type": "integer",
            "minimum": 1,
            "maximum": max_hold_windows,
            "description": "Windows until you are asked again; sooner if objectives are missed.",
        }
        self.schema: dict[str, Any] = {
            "type": "object",
            "properties": {knob: self._knob(knob) for knob in self._moving} | {HOLD: hold},
            "additionalProperties": False,
        }

    def _knob(self, knob: str) -> dict[str, Any]:
        schema = dict(ServeAction.model_json_schema()["properties"][knob])
        schema.pop("title", None)
        if knob == "quantization_tier":
            schema["enum"] = list(self._menu.tiers)
        if knob in SWITCHED:
            spec = self._menu.task.deployment
            stall_s = build_deployment(self._menu.task).profile.switching.stall_s(
                spec.switch_regime
            )
            schema["description"] += f" A switch takes {stall_s:g} s."
        return schema

    def read(self, answer: Answer, in_force: ServeAction) -> Decision:
        """The decision in an answer; knobs left out stay as they are.

        Tried in this order: the tool's arguments, the text as JSON, the last object of JSON that
        the text holds.

        Raises:
            CallFailedError: EMPTY, NO_JSON or INVALID_ACTION, with a line that says why.
        """
        fields = _fields_of(answer)
        known = [*self._moving, HOLD]
        unknown = [name for name in fields if name not in known]
        if unknown or not fields:
            got = f"unknown {unknown[0]!r:.40}" if unknown else "an empty object"
            raise _invalid(f"{got}; fields: {', '.join(known)}")
        try:
            hold = _Hold.model_validate(fields).hold_windows
            knobs = {name: value for name, value in fields.items() if name != HOLD}
            action = ServeAction.model_validate(in_force.model_dump() | knobs)
        except ValidationError as error:
            problem = error.errors()[0]
            raise _invalid(f"{problem['loc'][0]}: {problem['msg']}") from None
        if hold is not None and hold > self._max_hold_windows:
            raise _invalid(f"{HOLD}: must be at most {self._max_hold_windows}")
        if action.quantization_tier not in self._menu.tiers:
            raise _invalid(f"quantization_tier: one of {', '.join(self._menu.tiers)}")
        return Decision(action, hold)


def _fields_of(answer: Answer) -> Mapping[str, Any]:
    if answer.arguments is not None:
        called = _parse(answer.arguments)
        if called is None:
            raise _failed(Failure.NO_JSON, "the tool's arguments were no JSON object")
        return called
    if not answer.text.strip():
        raise _failed(Failure.EMPTY, "the answer was empty")
    said = _parse(answer.text)
    found = _last_object(answer.text[-SEARCHED_CHARACTERS:]) if said is None else said
    if found is None:
        raise _failed(Failure.NO_JSON, "the answer held no JSON object")
    return found


def _parse(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _last_object(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    found, start = None, 0
    while match := _OBJECT_START.search(text, start):
        try:
            found, start = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            start = match.end()
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _invalid(advice: str) -> CallFailedError:
    return _failed(Failure.INVALID_ACTION, advice)


def _failed(kind: Failure, advice: str) -> CallFailedError:
    return CallFailedError(kind, advice=advice)
