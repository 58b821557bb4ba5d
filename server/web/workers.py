"""Threads that play for the page: few, so that visitors wait for each other, not the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from server.jobs import Turns, in_thread
from server.refusals import LaterError, ServerBusyError

Result = TypeVar("Result")

PLAYS_AT_ONCE, MOST_WAITING_PLAYS = 2, 24
# A planner takes half a minute: one at a time, beside the others.
PLANS_AT_ONCE, MOST_WAITING_PLANS = 1, 2
RETRY_S: Final = 10


class PageBusyError(LaterError):
    """More visitors wait for this server than it lets wait."""

    code = "PAGE_BUSY"

    def __init__(self) -> None:
        super().__init__("the server is busy: other visitors' episodes come first", RETRY_S)


class Workers:
    """All threads that the page plays on."""

    def __init__(self) -> None:
        """No thread runs before there is work."""
        self._plays = Turns(at_once=PLAYS_AT_ONCE, max_waiting=MOST_WAITING_PLAYS)
        self._plans = Turns(at_once=PLANS_AT_ONCE, max_waiting=MOST_WAITING_PLANS)

    async def play(self, work: Callable[[], Result]) -> Result:
        """What the work returns, done on a thread.

        Raises:
            PageBusyError: If too many wait already.
        """
        return await _worked(self._plays, work)

    async def plan(self, work: Callable[[], Result]) -> Result:
        """The same for work of half a minute."""
        return await _worked(self._plans, work)


async def _worked(turns: Turns, work: Callable[[], Result]) -> Result:
    try:
        async with turns.turn():
            return await in_thread(work)
    except ServerBusyError as error:
        raise PageBusyError from error
