"""The clock of a real episode: it runs while a window is played and stands still in between."""

from __future__ import annotations

import asyncio
import time

LAG_CHECK_S = 0.01
LAG_WINDOW_S = 1.0
# A measurement is not counted if its client was starved in a larger share of its seconds than this.
MOST_STARVED_FRACTION = 0.2


class EpisodeClock:
    """Seconds since episode start, never past the end of the window being played."""

    def __init__(self) -> None:
        """At 0, standing still."""
        self._base_s, self._end_s = 0.0, 0.0
        self._resumed_s: float | None = None
        self._stopped_s: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether a window is being played."""
        return self._resumed_s is not None

    def now_s(self) -> float:
        """The time of the episode."""
        if self._resumed_s is None:
            return self._base_s
        return min(self._base_s + time.monotonic() - self._resumed_s, self._end_s)

    def resume(self, end_s: float) -> float:
        """Run until `end_s`; returns how long the clock stood still before, in real seconds."""
        now_s = time.monotonic()
        paused_s = 0.0 if self._stopped_s is None else now_s - self._stopped_s
        self._resumed_s, self._end_s = now_s, end_s
        return paused_s

    def stop(self) -> None:
        """Stand still at the end of the window."""
        self._base_s, self._resumed_s = self._end_s, None
        self._stopped_s = time.monotonic()


class LagWatch:
    """Measures how late the event loop wakes up: a starved client measures itself, not a server."""

    def __init__(self) -> None:
        """Not yet watching."""
        self._worst_s, self._due_s = 0.0, 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch from now on, and forget what was."""
        self._worst_s, self._due_s = 0.0, time.monotonic() + LAG_CHECK_S
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> float:
        """Stop, and return the longest delay in seconds, one that lasts still included."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._note()
        return self._worst_s

    def _note(self) -> None:
        self._worst_s = max(self._worst_s, time.monotonic() - self._due_s)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LAG_CHECK_S)
            self._note()
            self._due_s = time.monotonic() + LAG_CHECK_S


async def watch_lag(lags_s: list[float]) -> None:
    """Add the worst delay of every second to the list, until it is cancelled; of the last, too."""
    watch = LagWatch()
    try:
        while True:
            watch.start()
            await asyncio.sleep(LAG_WINDOW_S)
            lags_s.append(watch.stop())
    finally:
        lags_s.append(watch.stop())
