"""Every error a user can cause, each with the HTTP status and the code that the server answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class LLMServeError(Exception):
    """Something the caller asked for cannot be done; the message says what would be right.

    Attributes:
        http_status: Status that the server answers with.
        code: Stable machine-readable name of the error, in capitals.
        details: One entry per offending field, of values that JSON can carry.
    """

    http_status: int = 400
    code: str = "BAD_REQUEST"
    details: Sequence[dict[str, Any]] = ()


class InvalidInputError(LLMServeError):
    """A value has the wrong type, lies outside its range, or has an unknown name."""

    http_status = 422
    code = "INVALID_INPUT"


class UnknownRenderModeError(InvalidInputError, TypeError):
    """An environment was asked to render in a way that it cannot.

    A TypeError as well: make_vec_env of stable-baselines3 asks for `rgb_array` first, and takes
    this as the answer that there is none.
    """


class UnknownTaskError(LLMServeError):
    """The task id is not in the catalogue."""

    http_status = 422
    code = "UNKNOWN_TASK"

    def __init__(self, task_id: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown task_id {task_id!r}; known tasks: {', '.join(known)}")


class UnknownTraceError(LLMServeError):
    """The folder of imported traces holds none of this name."""

    http_status = 422
    code = "UNKNOWN_TASK"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        held = ", ".join(known) or "none yet; `llmserve trace import FILE` makes one"
        super().__init__(f"unknown trace {name!r}; imported and fitted: {held}")


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

    def __init__(self, start: str = "reset") -> None:
        super().__init__(f"no episode is running; call {start} first")


class EpisodeDoneError(LLMServeError):
    """A step came after the last window of the episode."""

    http_status = 409
    code = "EPISODE_DONE"

    def __init__(self, windows: int, start: str = "reset") -> None:
        super().__init__(
            f"the episode ended after {windows} windows; call {start} to start another"
        )


class UnknownSessionError(LLMServeError):
    """No session has this id: it never existed, expired, or was closed."""

    http_status = 404
    code = "UNKNOWN_SESSION"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"unknown session_id {session_id!r}; POST /reset opens a session")


class UnknownEpisodeError(LLMServeError):
    """No session plays an episode of this id, or played one last."""

    http_status = 404
    code = "UNKNOWN_EPISODE"

    def __init__(self, episode_id: str) -> None:
        super().__init__(
            f"no session holds an episode_id {episode_id!r}; a session holds its latest episode, "
            "and one played over /ws has its grade in the state message"
        )


class EpisodeNotFinishedError(LLMServeError):
    """A grade was asked of an episode that still has windows to play."""

    http_status = 409
    code = "EPISODE_NOT_FINISHED"

    def __init__(self, windows_played: int) -> None:
        super().__init__(
            f"the episode is not over, {windows_played} windows were played; step until done"
        )


class NotGradedError(LLMServeError):
    """A grade was asked of a task that has no scale."""

    http_status = 422
    code = "NOT_GRADED"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"task {task_id!r} is a variant and not graded: no planner that knows the future was "
            f"measured on it, so nothing says what 1 would be; compare raw scores with its best "
            f"constant action: evaluate.py --task {task_id}"
        )


class VersionMismatchError(LLMServeError):
    """The log was made with another version of the environment."""

    http_status = 422
    code = "VERSION_MISMATCH"

    def __init__(self, *, got: str, known: str) -> None:
        super().__init__(
            f"environment_version: the log is of {got!r} and this grader of {known!r}; "
            "play the episode again"
        )


class LogTooLongError(LLMServeError):
    """The log has more steps than the task has windows."""

    http_status = 422
    code = "LOG_TOO_LONG"

    def __init__(self, task_id: str, *, steps: int, windows: int) -> None:
        super().__init__(
            f"steps: an episode of {task_id!r} has at most {windows} windows, got {steps} steps"
        )


class LogMismatchError(LLMServeError):
    """A number of the log is not what a replay of its actions yields."""

    http_status = 422
    code = "LOG_MISMATCH"

    def __init__(self, *, step: int, field: str, claimed: object, replayed: object) -> None:
        super().__init__(
            f"step {step}: the log claims {field} {claimed!r}, a replay of its task, seeds and "
            f"actions yields {replayed!r}"
        )
        self.details = [
            {"step": step, "field": field, "claimed": claimed, "replayed": replayed},
        ]


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


class LanguageModelError(LLMServeError):
    """A language model was asked to play, and what it answered is no play of its own."""

    http_status = 502
    code = "LANGUAGE_MODEL_FAILED"


class RealServerError(LLMServeError):
    """The real server that is played on did not answer as it must before an episode can start."""

    http_status = 502
    code = "REAL_SERVER_FAILED"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"the real server at {where} cannot be played on: {reason}")


class RealServerBusyError(LLMServeError):
    """Another episode is being played on the real server; two would measure each other."""

    http_status = 409
    code = "REAL_SERVER_BUSY"

    def __init__(self) -> None:
        super().__init__(
            "another episode is being played on the real server; finish it, close its session "
            "(DELETE /sessions/ID) or its socket, or wait until it expires"
        )


class NotReplayableError(LLMServeError):
    """Something was asked of an episode on a real server that needs a replay or a copy of it."""

    http_status = 422
    code = "NOT_REPLAYABLE"

    def __init__(
        self, asked: str, *, raw_score: float | None = None, windows_played: int | None = None
    ) -> None:
        super().__init__(
            f"there is no {asked} of an episode on a real server: it cannot be played again; "
            "compare rewards of runs that were paired by seed"
        )
        if raw_score is not None:
            self.details = [{"mean_reward": raw_score, "windows_played": windows_played}]
