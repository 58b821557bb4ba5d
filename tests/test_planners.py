"""The planners on short episodes: what they may see, and that seeing pays."""

import pytest

from agents.clairvoyant import ClairvoyantAgent
from agents.mpc import MpcAgent
from agents.rollout import play_episode
from agents.simple import BestConstantAgent
from llmserve_env.errors import EpisodeNotStartedError, InvalidInputError
from llmserve_env.tasks import Catalogue, shipped_catalogue
from simulator.environment import ServingEnvironment
from tests.test_planning import short


class Elsewhere:
    """Episodes that are not played in this process."""

    def __init__(self, environment):
        self.reset, self.step = environment.reset, environment.step


def environment_of(task):
    version = shipped_catalogue().environment_version
    return ServingEnvironment(Catalogue(environment_version=version, tasks=(task,)))


def played(agent, task, seed=3):
    return play_episode(agent, task, seed, episodes=environment_of(task))


def test_the_clairvoyant_is_never_worse_than_the_constant_it_starts_from():
    task = short("bursty_workload", windows=20)

    constant = played(BestConstantAgent(), task)
    planned = played(ClairvoyantAgent(), task)

    assert planned.mean_reward > constant.mean_reward


def test_the_clairvoyant_plans_the_same_twice():
    task = short("static_workload", windows=12)

    assert played(ClairvoyantAgent(), task).actions == played(ClairvoyantAgent(), task).actions


def test_the_clairvoyant_plays_in_process_only():
    task = short("static_workload", windows=5)

    with pytest.raises(InvalidInputError, match="plays in process only"):
        play_episode(ClairvoyantAgent(), task, 1, episodes=Elsewhere(environment_of(task)))


def test_the_clairvoyant_needs_to_be_shown_the_environment():
    task = short("static_workload", windows=5)
    agent = ClairvoyantAgent()
    agent.reset(task, 0)

    with pytest.raises(EpisodeNotStartedError):
        agent.act(environment_of(task).reset(task_id=task.task_id, seed=1))


def test_the_model_predictive_planner_needs_observations_alone():
    task = short("bursty_workload", windows=8)

    episode = play_episode(MpcAgent(), task, 3, episodes=Elsewhere(environment_of(task)))

    assert len(episode.actions) == 8
    assert len(set(episode.actions)) > 1


class QuietLater:
    """Episodes in which nobody arrives after so many seconds."""

    def __init__(self, environment, until_s):
        self._environment, self._until_s, self.step = environment, until_s, environment.step

    def reset(self, **fields):
        observation = self._environment.reset(**fields)
        requests = self._environment.simulator.engine.state.requests[0]
        requests["arrival_s"][requests["arrival_s"] > self._until_s] += 1_000.0
        return observation


def test_the_model_predictive_planner_does_not_see_what_is_to_come():
    task = short("bursty_workload", windows=14)

    usual = play_episode(MpcAgent(), task, 3, episodes=environment_of(task))
    quiet = play_episode(MpcAgent(), task, 3, episodes=QuietLater(environment_of(task), 8.0))

    assert usual.actions[:9] == quiet.actions[:9]
    assert usual.actions[9:] != quiet.actions[9:]
