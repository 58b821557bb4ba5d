"""The three ids in both action modes, and the same episode through every door."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import llmserve_env
from llmserve_env.action_encoding import ActionDecoder, to_indices
from llmserve_env.encoding import FeatureEncoder
from llmserve_env.gym_env import LLMServeGymEnv
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import shipped_catalogue
from simulator.environment import ServingEnvironment
from simulator.vector_env import ServingVectorEnv

IDS = ("llmserve/Static-v1", "llmserve/Bursty-v1", "llmserve/Adversarial-v1")
TASK_IDS = dict(
    zip(IDS, ("static_workload", "bursty_workload", "adversarial_multitenant"), strict=True)
)


def sampled(env, count):
    env.action_space.seed(11)
    return [env.action_space.sample() for _ in range(count)]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("action_mode", ["multidiscrete", "box"])
def test_gymnasiums_own_checker_finds_nothing(name, action_mode):
    env = gymnasium.make(name, action_mode=action_mode, render_mode="ansi")

    check_env(env.unwrapped)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("action_mode", ["multidiscrete", "box"])
def test_an_episode_through_gymnasium_is_the_episode_in_process(name, action_mode):
    env = gymnasium.make(name, action_mode=action_mode)
    direct = ServingEnvironment()
    task_id = TASK_IDS[name]
    decoder = ActionDecoder(shipped_catalogue().get(task_id))
    decode = decoder.from_indices if action_mode == "multidiscrete" else decoder.from_box
    encoder = FeatureEncoder()
    observation = direct.reset(task_id=task_id, seed=42, trace_seed=7)
    features, _ = env.reset(seed=42, options={"trace_seed": 7})
    assert np.array_equal(features, encoder.encode(observation))

    truncated = False
    for action in sampled(env, 200):
        features, reward, _, truncated, info = env.step(action)
        observation = direct.step(decode(action))

        assert np.array_equal(features, encoder.encode(observation))
        assert reward == observation.reward
        assert info == observation.metadata

    assert truncated
    seen = env.unwrapped.observation
    assert isinstance(seen, ServeObservation)
    assert seen == observation


def test_an_episode_through_the_server_is_the_episode_in_process(server_url):
    remote = LLMServeGymEnv(
        llmserve_env.LLMServeEnv.from_url(server_url), task="adversarial_multitenant"
    )
    local = gymnasium.make("llmserve/Adversarial-v1")
    first_remote, _ = remote.reset(seed=3)
    first_local, _ = local.reset(seed=3)
    assert np.array_equal(first_remote, first_local)

    for action in sampled(local, 12):
        features, reward, _, _, info = remote.step(action)
        expected, expected_reward, _, _, expected_info = local.step(action)

        assert np.array_equal(features, expected)
        assert reward == expected_reward
        assert info == expected_info
    remote.close()


@pytest.mark.parametrize(("name", "allowed"), [(IDS[0], 29), (IDS[1], 39), (IDS[2], 41)])
def test_masks_allow_the_active_knobs_of_the_task(name, allowed):
    masks = gymnasium.make(name).unwrapped.action_masks()

    assert masks.shape == (41,)
    assert masks.sum() == allowed


@pytest.mark.parametrize("name", IDS)
def test_the_action_in_force_at_reset_is_a_level(name):
    task = shipped_catalogue().get(TASK_IDS[name])

    back = ActionDecoder(task).from_indices(to_indices(task.default_action))

    assert back == task.default_action


def test_several_environments_run_side_by_side():
    envs = gymnasium.make_vec("llmserve/Bursty-v1", num_envs=3)

    features, _ = envs.reset(seed=[1, 2, 3])
    _, rewards, _, truncated, _ = envs.step(envs.action_space.sample())

    assert isinstance(envs, ServingVectorEnv)
    assert features.shape == (3, 77)
    assert rewards.shape == (3,)
    assert not truncated.any()
    envs.close()


@pytest.mark.parametrize("name", IDS)
def test_a_vector_environment_is_gymnasiums_own_around_single_ones(name):
    ours = gymnasium.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point")
    theirs = gymnasium.make_vec(name, num_envs=2, vectorization_mode="sync")
    ours.action_space.seed(5)
    features, _ = ours.reset(seed=[4, 9])
    expected, _ = theirs.reset(seed=[4, 9])
    assert np.array_equal(features, expected)

    for _ in range(40):
        played = ours.action_space.sample()
        step, expected_step = ours.step(played), theirs.step(played)

        assert all(np.array_equal(a, b) for a, b in zip(step[:4], expected_step[:4], strict=True))
        assert step[0].dtype == expected_step[0].dtype
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2])
def test_gymnasiums_wrappers_count_the_episodes_of_a_vector_environment(mode):
    envs = RecordEpisodeStatistics(
        gymnasium.make_vec("llmserve/Static-v1", num_envs=2, autoreset_mode=mode)
    )
    envs.reset(seed=1)
    held = np.zeros((2, 6), np.int64)

    infos = [envs.step(held)[4] for _ in range(200)]

    assert infos[-1]["episode"]["l"].tolist() == [200, 200]
