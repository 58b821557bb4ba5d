import asyncio
import threading

import pytest

from server.web.workers import MOST_WAITING_PLAYS, PLAYS_AT_ONCE, PageBusyError, Workers


def test_work_is_done_off_the_event_loop():
    async def thread_of_work():
        return await Workers().play(threading.get_ident)

    assert asyncio.run(thread_of_work()) != threading.get_ident()


def test_what_the_work_raises_reaches_the_visitor():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(Workers().play(fail))


def test_too_many_visitors_are_told_to_come_back():
    async def crowd():
        workers, release = Workers(), threading.Event()
        waiting = PLAYS_AT_ONCE + MOST_WAITING_PLAYS
        tasks = [asyncio.create_task(workers.play(release.wait)) for _ in range(waiting)]
        await asyncio.sleep(0.05)
        try:
            await workers.play(str)
        finally:
            release.set()
            await asyncio.gather(*tasks)

    with pytest.raises(PageBusyError, match="the server is busy"):
        asyncio.run(crowd())
