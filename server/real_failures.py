"""Turns what goes wrong with a request into one of a few kinds, and says what each costs."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Final, NamedTuple

import openai


class Failure(Enum):
    """Why a request brought no answer. None of these texts holds a key or a prompt."""

    UNAUTHORIZED = "unauthorized"
    UNKNOWN_MODEL = "unknown_model"
    QUOTA_EXHAUSTED = "quota_exhausted"
    CONTEXT_TOO_LONG = "context_too_long"
    BAD_REQUEST = "bad_request"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    CUT_STREAM = "cut_stream"
    MALFORMED = "malformed"
    STREAM_ERROR = "stream_error"
    EMPTY_ANSWER = "empty_answer"
    # The gateway's own: never sent, or not sent again.
    GAVE_UP_WAITING = "gave_up_waiting"
    OVER_KV_BUDGET = "over_kv_budget"
    OVER_TOKEN_BUDGET = "over_token_budget"
    SERVER_UNUSABLE = "server_unusable"


# After one of these no further request of the episode is sent.
FATAL: Final = frozenset({Failure.UNAUTHORIZED, Failure.UNKNOWN_MODEL, Failure.QUOTA_EXHAUSTED})
# These are sent again, after the pause that the server asked for or a growing one.
RETRIED: Final = frozenset({Failure.RATE_LIMITED, Failure.OVERLOADED, Failure.CONNECTION})

_CONTEXT_WORDS: Final = ("context length", "context size", "context window", "too long")
_BY_STATUS: Final = {
    401: Failure.UNAUTHORIZED,
    403: Failure.UNAUTHORIZED,
    404: Failure.UNKNOWN_MODEL,
    429: Failure.RATE_LIMITED,
    503: Failure.OVERLOADED,
}


class Trouble(NamedTuple):
    """A failure and, if the server named one, the pause that it asks for."""

    failure: Failure
    retry_after_s: float | None = None


def classify(error: Exception, *, has_answered: bool) -> Trouble:
    """The kind of an error that the client raised.

    Args:
        error: Of openai, of the decoder of its chunks, or a TimeoutError.
        has_answered: Whether the stream had begun.
    """
    if isinstance(error, (TimeoutError, openai.APITimeoutError)):
        return Trouble(Failure.TIMEOUT)
    if isinstance(error, openai.APIConnectionError):
        return Trouble(Failure.CUT_STREAM if has_answered else Failure.CONNECTION)
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIResponseValidationError):
        return Trouble(Failure.MALFORMED)
    if isinstance(error, openai.APIError):
        return Trouble(Failure.STREAM_ERROR)
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
        return Trouble(Failure.MALFORMED)
    raise error


def _of_status(error: openai.APIStatusError) -> Trouble:
    status = error.status_code
    if status == 429 and "insufficient_quota" in (error.code, error.type):
        return Trouble(Failure.QUOTA_EXHAUSTED)
    if status in _BY_STATUS:
        pause_s = _retry_after_s(error.response.headers.get("retry-after"))
        return Trouble(_BY_STATUS[status], pause_s)
    if status >= 500:
        return Trouble(Failure.SERVER_ERROR)
    return Trouble(Failure.CONTEXT_TOO_LONG if _is_too_long(error) else Failure.BAD_REQUEST)


def _is_too_long(error: openai.APIStatusError) -> bool:
    code = f"{error.code} {error.type}"
    if "context_length_exceeded" in code or "exceed_context_size" in code:
        return True
    return any(words in error.message.lower() for words in _CONTEXT_WORDS)


def _retry_after_s(header: str | None) -> float | None:
    """Seconds in the header; dates, which hardly any server sends, count as none."""
    try:
        seconds = float(header) if header is not None else math.nan
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0.0 else None
