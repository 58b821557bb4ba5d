"""Every error a user can cause, each with the HTTP status and the code that the server answers."""

from __future__ import annotations

from collections.abc import Sequence


class LLMServeError(Exception):
    """Something the caller asked for cannot be done; the message says what would be right.

    Attributes:
        http_status: Status that the server answers with.
        code: Stable machine-readable name of the error, in capitals.
    """

    http_status: int = 400
    code: str = "BAD_REQUEST"


class InvalidInputError(LLMServeError):
    """A value has the wrong type, lies outside its range, or has an unknown name."""

    http_status = 422
    code = "INVALID_INPUT"


class UnknownTaskError(LLMServeError):
    """The task id is not in the catalogue."""

    http_status = 422
    code = "UNKNOWN_TASK"

    def __init__(self, task_id: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown task_id {task_id!r}; known tasks: {', '.join(known)}")


class InactiveActionError(LLMServeError):
    """The action moves a knob that the task holds fixed."""

    http_status = 422
    code = "INACTIVE_ACTION"

    def __init__(self, task_id: str, knob: str, *, got: object, fixed: object) -> None:
        super().__init__(
            f"task {task_id!r} holds {knob} fixed at {fixed!r}, got {got!r}; "
            f"send {fixed!r} or leave the knob out"
        )


class TierNotOfferedError(LLMServeError):
    """The GPU profile has no measured times for this quantization tier."""

    http_status = 422
    code = "TIER_NOT_OFFERED"

    def __init__(self, profile: str, tier: str, offered: Sequence[str]) -> None:
        super().__init__(
            f"profile {profile!r} does not offer quantization_tier {tier!r}; "
            f"offered: {', '.join(offered)}"
        )


class EpisodeNotStartedError(LLMServeError):
    """A step came before any reset."""

    http_status = 409
    code = "EPISODE_NOT_STARTED"

    def __init__(self) -> None:
        super().__init__("no episode is running; call reset first")


class EpisodeDoneError(LLMServeError):
    """A step came after the last window of the episode."""

    http_status = 409
    code = "EPISODE_DONE"

    def __init__(self, windows: int) -> None:
        super().__init__(f"the episode ended after {windows} windows; call reset to start another")


class UnknownSessionError(LLMServeError):
    """No session has this id: it never existed, expired, or was closed."""

    http_status = 404
    code = "UNKNOWN_SESSION"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"unknown session_id {session_id!r}; POST /reset opens a session")


class CapacityReachedError(LLMServeError):
    """All sessions are taken and none is old enough to be closed."""

    http_status = 429
    code = "CAPACITY_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__(f"all {limit} sessions are in use; retry later or close one")


class PayloadTooLargeError(LLMServeError):
    """The request body is longer than the server reads."""

    http_status = 413
    code = "PAYLOAD_TOO_LARGE"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the request body is larger than {limit_bytes} bytes")


class NotAvailableError(LLMServeError):
    """The route is part of the contract but this version does not answer it yet."""

    http_status = 501
    code = "NOT_AVAILABLE"
