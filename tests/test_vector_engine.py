"""The engine for many environments, against the environment of one."""

import numpy as np
import pytest

from simulator.deployment import StepCosts, draw_step_costs
from simulator.engine import action_row
from simulator.reward import weight_row
from simulator.vector_engine import VectorEngine
from tests.builders import action, every, requests, task

MADE = task(windows=5)
WEIGHTS = np.tile(weight_row(MADE.reward), (3, 1))
ACTIONS = np.tile(action_row(action()), (3, 1))
BATCHES = [requests(every(0.5, 10)), requests(every(0.05, 100)), requests([])]


def started(threads=1):
    engine = VectorEngine(MADE, 3, threads=threads)
    features = engine.reset(BATCHES, [draw_step_costs(MADE.deployment, seed) for seed in range(3)])
    return engine, features


def test_environments_start_alike_whatever_requests_will_come():
    _, features = started()

    assert features.shape == (3, 77)
    assert np.array_equal(features[0], features[1])
    assert np.array_equal(features[0], features[2])


def test_every_environment_serves_its_own_requests():
    engine, _ = started()

    features = engine.step(ACTIONS, WEIGHTS)

    arrival_rates = features[:, 4]
    assert arrival_rates[1] > arrival_rates[0] > arrival_rates[2] == 0.0


def test_rewards_have_a_row_per_environment_and_the_reward_last():
    engine, _ = started()
    engine.step(ACTIONS, WEIGHTS)

    rewards = engine.rewards

    assert rewards.shape == (3, 10)
    assert np.abs(rewards[:, -1]).max() <= 1.0


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_numbers_do_not_depend_on_threads(threads):
    one, many = started()[0], started(threads)[0]

    rows = [(one.step(ACTIONS, WEIGHTS), many.step(ACTIONS, WEIGHTS)) for _ in range(5)]

    assert all(np.array_equal(a, b) for a, b in rows)
    assert np.array_equal(one.rewards, many.rewards)
    many.close()


def test_a_reset_starts_anew_with_room_for_more_requests():
    engine, first = started()
    engine.step(ACTIONS, WEIGHTS)

    again = engine.reset([requests(every(0.01, 500))] * 3, [StepCosts()] * 3)

    assert np.array_equal(again, first)
    assert engine.step(ACTIONS, WEIGHTS)[0, 4] > 0.0
