import numpy as np
import pytest

from agents.ppo.fleet import Fleet, Lanes, Seeds
from llmserve_env.splits import split_of
from simulator.engine import action_row
from simulator.environment import ServingEnvironment
from tests.builders import catalogue, task
from tests.ppo_tasks import one_knob


def rows(spec, envs):
    return np.tile(action_row(spec.default_action), (envs, 1))


def fleet(*tasks, deals=0, seed=0):
    return Fleet(tasks, traces=2, replicas=2, seed=seed, deals=deals)


def test_a_lane_earns_what_the_environment_pays_on_the_same_seeds():
    spec = task(windows=6, linear_spread=0.2)
    environment = ServingEnvironment(catalogue(spec))
    environment.reset(task_id=spec.task_id, seed=9, trace_seed=4)

    lanes = Lanes(spec, [Seeds(trace=4, episode=9), Seeds(trace=4, episode=10)])

    batched = [lanes.step(rows(spec, 2))[0] for _ in range(6)]
    assert batched == [environment.step(spec.default_action).reward for _ in range(6)]


def test_replicas_face_the_same_arrivals_and_other_traces_others():
    spec = task(windows=4, linear_spread=0.2)
    playing = fleet(spec)

    playing.step(rows(spec, 4))

    arrivals = playing.features[:, 4]
    assert arrivals[0] == arrivals[1]
    assert arrivals[2] == arrivals[3]
    assert arrivals[0] != arrivals[2]


def test_the_last_window_is_seen_before_the_next_episode_begins():
    spec = task(windows=2)
    playing = fleet(spec)
    fresh = playing.features

    moments = [playing.step(rows(spec, 4)) for _ in range(2)]

    assert [moment.ended.tolist() for moment in moments] == [[False] * 4, [True] * 4]
    assert not np.array_equal(moments[1].seen, playing.features)
    assert np.array_equal(playing.features, fresh)
    assert playing.at_start


def test_every_episode_has_new_traffic():
    spec = task(windows=1)
    playing = fleet(spec)

    first, second = (playing.step(rows(spec, 4)).seen for _ in range(2))

    assert not np.array_equal(first, second)


def test_a_fleet_taken_up_after_some_deals_plays_on_the_same_traffic():
    spec = task(windows=1)
    whole = fleet(spec)
    whole.step(rows(spec, 4))
    taken_up = fleet(spec, deals=whole.deals - 1)

    assert np.array_equal(whole.step(rows(spec, 4)).seen, taken_up.step(rows(spec, 4)).seen)


def test_tasks_share_the_traces():
    playing = Fleet([task(), one_knob()], traces=3, replicas=2, seed=0)

    names = [spec.task_id for spec in playing.tasks]

    assert names == ["made_up"] * 4 + ["only_batch_cap"] * 2


@pytest.mark.parametrize("seed", [0, 1])
def test_traffic_comes_from_the_train_split(monkeypatch, seed):
    dealt = []
    deal = Lanes.deal
    monkeypatch.setattr(
        Lanes, "deal", lambda lanes, seeds: (dealt.extend(seeds), deal(lanes, seeds))
    )

    fleet(task(), seed=seed)

    assert {split_of(number) for pair in dealt for number in pair} == {"train"}
