"""What the server refuses for its own sake: too much, too soon, too slow, not allowed."""

from __future__ import annotations

from llmserve_env.errors import LLMServeError


class LaterError(LLMServeError):
    """Something that may be asked for again later.

    Attributes:
        retry_after_s: Seconds after which it makes sense.
    """

    http_status = 503

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(f"{message}; retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class RateLimitedError(LaterError):
    """This client asked too often."""

    http_status = 429
    code = "RATE_LIMITED"

    def __init__(self, what: str, per_minute: int, retry_after_s: int) -> None:
        super().__init__(f"more than {per_minute} {what} requests a minute", retry_after_s)


class TooManySessionsError(LaterError):
    """This client holds as many sessions as one client may."""

    http_status = 429
    code = "TOO_MANY_SESSIONS"

    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(
            f"this client holds {limit} sessions, as many as one may; close one", retry_after_s
        )


class ServerBusyError(LaterError):
    """Too many grades and baselines wait already."""

    code = "SERVER_BUSY"

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} grades and baselines wait already", 5)


class ShuttingDownError(LaterError):
    """The server was told to stop and starts nothing any more."""

    code = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("the server is stopping", 5)


class BaselineTimeoutError(LLMServeError):
    """The baselines asked for take longer than the server gives them."""

    http_status = 503
    code = "BASELINE_TIMEOUT"

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"the baselines took longer than {limit_s:g} s; ask for fewer agents or one task"
        )


class RequestTimeoutError(LLMServeError):
    """The request did not come in whole in time."""

    http_status = 408
    code = "REQUEST_TIMEOUT"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the request did not come in whole within {limit_s:g} s")


class UnauthorizedError(LLMServeError):
    """The operator set a token and the request does not carry it."""

    http_status = 401
    code = "UNAUTHORIZED"

    def __init__(self) -> None:
        super().__init__("this server wants the header `Authorization: Bearer TOKEN`")
