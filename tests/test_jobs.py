import asyncio
import threading

import pytest

from server.jobs import Turns, in_thread
from server.refusals import ServerBusyError


def test_a_function_runs_in_another_thread_and_its_result_comes_back():
    thread = asyncio.run(in_thread(threading.current_thread))

    assert thread is not threading.current_thread()
    assert thread.daemon


def test_what_a_function_raises_comes_back():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_thread(fail))


def test_no_more_work_at_once_than_allowed_and_in_the_order_of_arrival():
    began, most = [], 0

    async def work(turns, name):
        nonlocal most
        async with turns.turn():
            began.append(name)
            most = max(most, len(began) - ended[0])
            await asyncio.sleep(0)
            ended[0] += 1

    ended = [0]

    async def all_of_it():
        turns = Turns(at_once=2, max_waiting=8)
        await asyncio.gather(*(work(turns, name) for name in "abcdef"))

    asyncio.run(all_of_it())

    assert began == list("abcdef")
    assert most == 2


def test_one_who_would_wait_behind_too_many_is_refused():
    async def refused():
        turns = Turns(at_once=1, max_waiting=1)
        async with turns.turn():
            waiting = asyncio.create_task(turns.turn().__aenter__())
            await asyncio.sleep(0)
            try:
                async with turns.turn():
                    pass
            finally:
                waiting.cancel()

    with pytest.raises(ServerBusyError, match="1 grades and baselines wait already"):
        asyncio.run(refused())
