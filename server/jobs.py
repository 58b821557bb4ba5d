"""Work that takes a while: off the event loop, a few at a time, a bounded number waiting."""

from __future__ import annotations

import asyncio
import threading
from asyncio import shield, wrap_future
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from server.metrics import JOBS
from server.refusals import ServerBusyError

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """Lets a few at a time work, in the order in which they came; used on one event loop only."""

    def __init__(self, *, at_once: int, max_waiting: int) -> None:
        """Let so many work and so many wait."""
        self._slots, self._max_waiting = asyncio.Semaphore(at_once), max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Raises:
            ServerBusyError: If too many wait already.
        """
        if self._waiting >= self._max_waiting:
            raise ServerBusyError(self._waiting)
        self._waiting += 1
        JOBS.labels("waiting").inc()
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
            JOBS.labels("waiting").dec()
        JOBS.labels("running").inc()
        try:
            yield
        finally:
            JOBS.labels("running").dec()
            self._slots.release()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns or raises, from a thread that does not hold up the server's end.

    One who stops waiting does not stop the work.
    """
    return await shield(wrap_future(start_thread(lambda: function(*args, **kwargs))))


def start_thread(function: Callable[[], T]) -> Future[T]:
    """The result to come of a function that runs in a daemon thread from now on."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 (handed on to those who wait)
            future.set_exception(error)

    threading.Thread(target=run, name="job", daemon=True).start()
    return future
