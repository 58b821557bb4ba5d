"""The waiting line before a real server, and a meter of what keeps it waiting."""

from __future__ import annotations

import heapq
from enum import Enum

from server.real_calls import Call


class Hold(Enum):
    """What keeps the first of the line waiting."""

    CAP = "cap"
    TOKENS = "tokens"
    QUIET = "quiet"


class WaitingLine:
    """Calls in order of arrival, or by class and then arrival."""

    def __init__(self) -> None:
        """Empty, in order of arrival."""
        self._by_class = False
        self._heap: list[tuple[int, int, Call]] = []

    def __len__(self) -> int:
        """How many wait."""
        return len(self._heap)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Who waits, in order of arrival."""
        return tuple(sorted((call for _, _, call in self._heap), key=lambda call: call.index))

    def order(self, *, by_class: bool) -> None:
        """Put the line in this order, now and for who comes."""
        self._by_class = by_class
        self.replace(self.calls)

    def replace(self, calls: tuple[Call, ...]) -> None:
        """Let these calls wait and no others."""
        self._heap = [self._entry(call) for call in calls]
        heapq.heapify(self._heap)

    def push(self, call: Call) -> None:
        """Let a call wait."""
        heapq.heappush(self._heap, self._entry(call))

    def first(self) -> Call:
        """The call whose turn it is; the line must not be empty."""
        return self._heap[0][2]

    def pop(self) -> None:
        """Take the first call out."""
        heapq.heappop(self._heap)

    def _entry(self, call: Call) -> tuple[int, int, Call]:
        return (call.priority_class if self._by_class else 0, call.index, call)


class HoldMeter:
    """For how long each thing kept the line waiting."""

    def __init__(self) -> None:
        """Nothing has yet."""
        self._hold: Hold | None = None
        self._since_s = 0.0
        self._held_s = dict.fromkeys(Hold, 0.0)

    def note(self, hold: Hold | None, now_s: float) -> None:
        """From now on this keeps the line waiting, or nothing does."""
        if self._hold is not None:
            self._held_s[self._hold] += now_s - self._since_s
        self._hold, self._since_s = hold, now_s

    def take(self, now_s: float) -> dict[Hold, float]:
        """Seconds by what kept the line waiting, since this was last called."""
        self.note(self._hold, now_s)
        taken, self._held_s = self._held_s, dict.fromkeys(Hold, 0.0)
        return taken
