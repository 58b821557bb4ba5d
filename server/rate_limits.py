"""How often a client may ask: three kinds of requests, counted over sliding minutes."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from math import ceil
from typing import Final, Literal

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from server.limit_settings import LimitSettings
from server.refusals import RateLimitedError

Kind = Literal["expensive", "reset", "step"]

# Steps are counted by so many at a time: asking the counter costs more than a step's share of it.
STEPS_PER_LEASE: Final = 50
# Clients whose lease is remembered; whoever is forgotten takes a new one.
REMEMBERED_CLIENTS: Final = 4096
EXPENSIVE: Final = ("/baseline", "/grader")
RESETS: Final = ("/reset", "/web/gradio_api/queue/join")
FREE: Final = ("/health", "/metrics")


class RateLimits:
    """Counts requests by client and kind, in this process."""

    def __init__(self, settings: LimitSettings) -> None:
        """Take how much there may be in a minute; 0 is no limit."""
        per_minute: dict[Kind, int] = {
            "expensive": settings.expensive_requests_per_minute,
            "reset": settings.reset_requests_per_minute,
            "step": settings.step_requests_per_minute,
        }
        self._items = {
            kind: RateLimitItemPerMinute(count, namespace=kind)
            for kind, count in per_minute.items()
            if count
        }
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._leases: OrderedDict[str, int] = OrderedDict()

    def check(self, client: str, kind: Kind) -> None:
        """Count one request.

        Raises:
            RateLimitedError: If it is one too many; it says when to come back.
        """
        if kind not in self._items:
            return
        if kind == "step":
            self._check_step(client)
        else:
            self._hit(client, kind, 1)

    def _check_step(self, client: str) -> None:
        left = self._leases.get(client, 0)
        if left == 0:
            left = min(STEPS_PER_LEASE, self._items["step"].amount)
            self._hit(client, "step", left)
            self._leases.pop(client, None)  # to the end of the order
        self._leases[client] = left - 1
        if len(self._leases) > REMEMBERED_CLIENTS:
            self._leases.popitem(last=False)

    def _hit(self, client: str, kind: Kind, cost: int) -> None:
        item = self._items[kind]
        if self._limiter.hit(item, client, cost=cost):
            return
        reset_s = self._limiter.get_window_stats(item, client).reset_time
        wait_s = ceil(reset_s - datetime.now(UTC).timestamp())
        raise RateLimitedError(kind, item.amount, min(max(wait_s, 1), item.get_expiry()))


def kind_of(path: str) -> Kind | None:
    """The kind of requests to a path; None if they are not counted."""
    if path in FREE:
        return None
    if path in EXPENSIVE:
        return "expensive"
    return "reset" if path in RESETS else "step"
