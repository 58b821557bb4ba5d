import numpy as np
import pytest

from agents.batch import Batch, mean_rewards
from llmserve_env.errors import InvalidInputError
from simulator.engine import action_row
from simulator.environment import ServingEnvironment
from tests.builders import action, catalogue, task

SMALL = action(batch_cap=4)
LARGE = action(batch_cap=64, quantization_tier="INT8")


def played(spec, seed, actions):
    environment = ServingEnvironment(catalogue(spec))
    environment.reset(task_id=spec.task_id, seed=seed)
    return [environment.step(each).reward for each in actions]


@pytest.fixture(scope="module")
def spec():
    return task(windows=12, linear_spread=0.1)


@pytest.fixture(scope="module")
def batch(spec):
    return Batch(spec, range(20))


def test_a_constant_earns_what_the_environment_pays_bit_for_bit(spec, batch):
    rewards = batch.play(action_row(SMALL))

    assert rewards.shape == (20, 12)
    assert rewards[3].tolist() == played(spec, 3, [SMALL] * 12)
    assert rewards[19].tolist() == played(spec, 19, [SMALL] * 12)


def test_a_schedule_earns_what_the_environment_pays_bit_for_bit(spec, batch):
    actions = [SMALL] * 5 + [LARGE] * 7
    schedule = np.repeat([[action_row(each)] for each in actions], 20, axis=1)

    rewards = batch.play(schedule)

    assert rewards[18].tolist() == played(spec, 18, actions)


def test_every_environment_may_hold_an_action_of_its_own(spec, batch):
    rows = np.array([action_row(SMALL)] * 10 + [action_row(LARGE)] * 10)

    rewards = batch.play(rows)

    assert rewards[2].tolist() == played(spec, 2, [SMALL] * 12)
    assert rewards[17].tolist() == played(spec, 17, [LARGE] * 12)


def test_playing_again_starts_again(batch):
    first = batch.play(action_row(SMALL))
    batch.play(action_row(LARGE))

    assert batch.play(action_row(SMALL)).tolist() == first.tolist()


def test_a_part_of_the_seeds_earns_what_it_earns_among_all(batch):
    everything = batch.play(action_row(SMALL))

    part = batch.play(action_row(SMALL), first=14, last=19)

    assert part.tolist() == everything[14:19].tolist()


def test_a_short_schedule_plays_so_many_windows(batch):
    rewards = batch.play(np.tile(action_row(SMALL), (3, 20, 1)))

    assert rewards.shape == (20, 3)


@pytest.mark.parametrize(
    "shape", [(5,), (19, 6), (3, 19, 6), (13, 20, 6), (0, 20, 6), (2, 2, 2, 6)]
)
def test_actions_of_another_shape_are_refused(batch, shape):
    with pytest.raises(InvalidInputError, match=r"actions must be \(6,\), \(20, 6\) or"):
        batch.play(np.ones(shape))


def test_a_batch_needs_a_seed(spec):
    with pytest.raises(InvalidInputError, match="at least one seed"):
        Batch(spec, ())


def test_mean_rewards_takes_actions_and_schedules(spec, batch):
    schedule = np.tile(action_row(LARGE), (12, 1))

    scores = mean_rewards(spec, range(20), [SMALL, action_row(LARGE), schedule])

    assert scores.shape == (3, 20)
    assert scores[0].tolist() == batch.play(action_row(SMALL)).mean(axis=1).tolist()
    assert scores[1].tolist() == scores[2].tolist()


def test_mean_rewards_refuses_a_schedule_that_does_not_fill_the_episode(spec):
    with pytest.raises(InvalidInputError, match="must have 12 windows, got 11"):
        mean_rewards(spec, (0,), [np.tile(action_row(SMALL), (11, 1))])
