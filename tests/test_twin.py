"""A twin knows what was observed and guesses the rest."""

import pytest

from agents.rollout import play_episode
from agents.simple import ConstantAgent
from agents.twin import Twin
from llmserve_env.tasks import Catalogue, shipped_catalogue
from simulator.environment import ServingEnvironment
from tests.test_planning import short


def followed(task, seed, twin, agent):
    seen = []

    def follow(observation):
        twin.follow(observation, observation.config)
        seen.append(observation)

    version = shipped_catalogue().environment_version
    environment = ServingEnvironment(Catalogue(environment_version=version, tasks=(task,)))
    play_episode(agent, task, seed, episodes=environment, on_window=follow)
    return seen


def test_a_twin_serves_as_many_requests_as_were_seen_and_comes_near_their_kv():
    task = short("static_workload", windows=60)
    twin = Twin(task, seed=0)

    seen = followed(task, 3, twin, ConstantAgent())

    arrived = sum(observation.arrived_requests for observation in seen)
    assert twin.requests == arrived
    assert twin.kv_used_fraction == pytest.approx(seen[-1].kv_cache_occupancy, abs=0.08)


def test_a_forecast_adds_arrivals_and_leaves_the_twin_where_it_is():
    task = short("bursty_workload", windows=10)
    twin = Twin(task, seed=0)
    followed(task, 3, twin, ConstantAgent())
    before = twin.requests

    state = twin.forecast(12)

    ahead = int(state.environments[0]["requests"]) - before
    assert twin.requests == before
    assert 30 < ahead < 600


def test_twins_of_one_seed_differ_by_their_index():
    task = short("bursty_workload", windows=5)
    one, two = Twin(task, seed=0, index=0), Twin(task, seed=0, index=1)
    for twin in (one, two):
        followed(task, 3, twin, ConstantAgent())

    assert one.requests == two.requests
    assert one.forecast(5).requests.tobytes() != two.forecast(5).requests.tobytes()
