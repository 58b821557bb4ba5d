"""The Gymnasium wrapper, around an environment in this process."""

import gymnasium
import numpy as np
import pytest

from llmserve_env.encoding import FEATURE_NAMES, FeatureEncoder
from llmserve_env.errors import EpisodeDoneError, EpisodeNotStartedError, InvalidInputError
from llmserve_env.gym_env import LLMServeGymEnv
from simulator.environment import ServingEnvironment
from tests.builders import catalogue, task

HELD = np.array([8, 9, 0, 0, 0, 0])


def wrapped(*, render_mode=None, action_mode="multidiscrete", **changes):
    made = task(**{"windows": 3} | changes)
    return LLMServeGymEnv(
        ServingEnvironment(catalogue(made)),
        task=made,
        action_mode=action_mode,
        render_mode=render_mode,
    )


def test_observations_are_the_encoded_observation():
    env = wrapped()

    encoder = FeatureEncoder()

    first, _ = env.reset(seed=1)
    expected_first = encoder.encode(env.observation)
    second, *_ = env.step(HELD)

    assert first in env.observation_space
    assert np.array_equal(first, expected_first)
    assert np.array_equal(second, encoder.encode(env.observation))


def test_the_trends_of_an_episode_start_anew_with_the_next():
    env = wrapped()
    env.reset(seed=1)
    first, *_ = env.step(HELD)
    env.step(HELD)

    env.reset(seed=1)

    assert np.array_equal(env.step(HELD)[0], first)
    assert first[FEATURE_NAMES.index("request_arrival_rate.slow")] > 0.0


def test_the_horizon_truncates_and_never_terminates():
    env = wrapped()
    env.reset(seed=1)

    ends = [env.step(HELD)[2:4] for _ in range(3)]

    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(EpisodeDoneError):
        env.step(HELD)


def test_info_holds_the_seeds_then_the_rewards_terms_then_the_traffics_facts():
    env = wrapped()

    _, at_reset = env.reset(seed=5, options={"trace_seed": 9})
    infos = [env.step(HELD)[4] for _ in range(3)]

    assert (at_reset["seed"], at_reset["trace_seed"]) == (5, 9)
    assert set(infos[0]) == {"reward_terms"}
    assert 0.0 <= infos[0]["reward_terms"]["throughput"] <= 1.0
    assert infos[2]["episode_facts"]["request_count"] > 0


def test_a_reset_without_a_seed_draws_another_one():
    env = wrapped()

    seeds = [env.reset(seed=1)[1]["seed"], env.reset()[1]["seed"], env.reset()[1]["seed"]]

    assert seeds[0] == 1
    assert len(set(seeds)) == 3


def test_the_seeds_that_are_drawn_follow_from_the_first():
    one, other = wrapped(), wrapped()
    one.reset(seed=1)
    other.reset(seed=1)

    assert one.reset()[1]["seed"] == other.reset()[1]["seed"]


def test_reward_weights_can_be_set_at_reset():
    env = wrapped()
    env.reset(seed=1)
    usual = env.step(HELD)[1]

    env.reset(seed=1, options={"reward_weights": {"cost": 3.0}})

    assert env.step(HELD)[1] != usual


def test_a_trace_seed_may_be_a_numpy_integer():
    _, info = wrapped().reset(seed=1, options={"trace_seed": np.int64(9)})

    assert info["trace_seed"] == 9


def test_an_unknown_reset_option_is_refused_naming_the_choices():
    with pytest.raises(InvalidInputError, match="'sead'; choices: trace_seed, reward_weights"):
        wrapped().reset(options={"sead": 1})


def test_an_unknown_action_mode_is_refused_naming_the_choices():
    with pytest.raises(InvalidInputError, match="'discrete'; choices: multidiscrete, box"):
        wrapped(action_mode="discrete")


def test_an_unknown_render_mode_is_refused_naming_the_choices():
    with pytest.raises(InvalidInputError, match="'human'; choices: None, ansi"):
        wrapped(render_mode="human")


def test_an_action_outside_the_space_is_refused():
    env = wrapped(action_mode="box")
    env.reset(seed=1)

    with pytest.raises(InvalidInputError, match=r"batch_cap: 1\.5 is not in -1 to 1"):
        env.step(np.array([1.5, 0, 0, 0, 0, 0], np.float32))


def test_a_step_before_reset_is_refused():
    with pytest.raises(EpisodeNotStartedError):
        wrapped().step(HELD)


def test_the_observation_before_reset_is_refused():
    with pytest.raises(EpisodeNotStartedError):
        _ = wrapped().observation


def test_a_task_that_moves_two_knobs_plays_any_sample():
    env = wrapped(active_actions=["batch_cap", "kv_budget_fraction"])
    env.reset(seed=1)

    env.step(np.array([3, 4, 8, 2, 1, 1]))

    assert env.observation.config.batch_cap == 8
    assert env.observation.config.speculation_depth == 0
    assert env.action_masks().sum() == 29


def test_spaces_are_as_wide_for_every_task():
    assert wrapped().action_space == gymnasium.spaces.MultiDiscrete([15, 10, 9, 3, 2, 2])
    assert wrapped(action_mode="box").action_space.shape == (6,)


class TestRendering:
    def test_a_window_is_one_line(self):
        env = wrapped(render_mode="ansi")
        env.reset(seed=1)
        env.step(HELD)

        line = env.render()

        assert line.startswith("made_up 1/3 | ")
        assert "p99 ttft" in line
        assert "reward 0." in line
        assert "\n" not in line

    def test_what_is_not_measured_yet_is_a_dash(self):
        env = wrapped(render_mode="ansi")
        env.reset(seed=1)

        assert "p99 ttft -, itl - | 0 of 0 tok/s in time | reward - |" in env.render()

    def test_nothing_is_rendered_without_a_mode(self):
        env = wrapped()
        env.reset(seed=1)

        assert env.render() is None


def test_closing_closes_a_client():
    class Client:
        is_closed = False

        def close(self):
            self.is_closed = True

    client = Client()

    LLMServeGymEnv(client, task="static_workload").close()

    assert client.is_closed
