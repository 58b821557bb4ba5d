"""Steps that are answered before OpenEnv's handler: what they yield, and when they are not."""

import asyncio

import pytest

from llmserve_env.errors import EpisodeDoneError
from llmserve_env.tasks import shipped_catalogue
from server.openenv_adapter import Exchange, OpenEnvServing, WireAction, exchange_of_socket

ACTION = WireAction(**dict(shipped_catalogue().get("bursty_workload").default_action))


def started():
    serving = OpenEnvServing()
    serving.reset(task_id="bursty_workload", seed=3)
    return serving


def test_it_is_the_step_that_waits_in_line():
    at_once, in_line = started(), started()

    for _ in range(5):
        assert at_once.step_at_once(ACTION) == asyncio.run(in_line.step_async(ACTION))


def test_nothing_is_played_while_a_tool_plays():
    serving = started()

    async def meanwhile():
        async with serving._seat.lock:
            return serving.step_at_once(ACTION)

    assert asyncio.run(meanwhile()) is None
    assert serving.state.step_count == 0


def test_behind_a_socket_a_finished_episode_is_graded_when_it_is_asked_for():
    serving, exchange = started(), Exchange()

    async def play():
        exchange_of_socket.set(exchange)
        await serving.step_async(ACTION)
        for _ in range(199):
            serving.step_at_once(ACTION)
        ungraded = serving._environment._final_grade
        await serving.prepare_state()
        return ungraded, serving._environment._final_grade

    before, after = asyncio.run(play())

    assert exchange.serving is serving
    assert before is None
    assert after == serving.state.grade
    with pytest.raises(EpisodeDoneError):
        serving.step_at_once(ACTION)
