"""Many environments at once, against so many single ones."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llmserve_env.errors import EpisodeNotStartedError, InvalidInputError
from llmserve_env.gym_env import LLMServeGymEnv
from simulator.environment import ServingEnvironment
from simulator.vector_env import ServingVectorEnv
from tests.builders import catalogue, stream, task

MADE = task(
    gpus=2,
    windows=6,
    linear_spread=0.1,
    workload={"streams": [stream(acceptance={"first": 0.7, "ratio": 0.95, "spread": 0.1})]},
)
HELD = np.tile([8, 9, 0, 0, 0, 0], (4, 1))


def many(num_envs=4, **settings):
    return ServingVectorEnv(MADE, num_envs, **settings)


def singles(num_envs, autoreset_mode, action_mode):
    def make():
        played = ServingEnvironment(catalogue(MADE))
        return LLMServeGymEnv(played, task=MADE, action_mode=action_mode)

    return SyncVectorEnv([make] * num_envs, autoreset_mode=autoreset_mode)


def played(envs, count, *, seed=3, **options):
    """Features, rewards and ends of a reset and so many steps of the same random actions."""
    envs.action_space.seed(1)
    features, _ = envs.reset(seed=seed, options=options or None)
    seen = [(features, 0.0, False, False)]
    for _ in range(count):
        seen.append(envs.step(envs.action_space.sample())[:4])
    return [np.array(column) for column in zip(*seen[1:], strict=True)] + [features]


def assert_same(ours, theirs):
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("action_mode", ["multidiscrete", "box"])
def test_numbers_are_those_of_single_environments_over_several_episodes(mode, action_mode):
    ours = played(many(3, autoreset_mode=mode, action_mode=action_mode), 15)

    assert_same(ours, played(singles(3, mode, action_mode), 15))


def test_numbers_do_not_depend_on_threads():
    one = played(many(7), 8)

    assert_same(one, played(many(7, threads=2), 8))
    assert_same(one, played(many(7, threads=16), 8))


def test_rewards_are_set_as_for_a_single_environment():
    weights = {"reward_weights": {"cost": 3.0}}
    ours = played(many(2), 8, trace_seed=5, **weights)

    theirs = singles(2, AutoresetMode.NEXT_STEP, "multidiscrete")

    assert_same(ours, played(theirs, 8, trace_seed=5, **weights))


def test_infos_are_those_of_single_environments():
    ours, theirs = many(2), singles(2, AutoresetMode.NEXT_STEP, "multidiscrete")
    ours.reset(seed=3)
    theirs.reset(seed=3)

    infos, expected = ours.step(HELD[:2])[4], theirs.step(HELD[:2])[4]

    assert infos["_reward_terms"].tolist() == [True, True]
    terms, expected_terms = infos["reward_terms"], expected["reward_terms"]
    assert terms.keys() == expected_terms.keys()
    assert_same([terms[name] for name in expected_terms], expected_terms.values())


def test_the_horizon_truncates_and_the_step_after_it_starts_the_next_episodes():
    envs = many()
    envs.reset(seed=1)

    steps = [envs.step(HELD) for _ in range(7)]

    assert not any(terminations.any() for _, _, terminations, _, _ in steps)
    assert [truncations.all() for *_, truncations, _ in steps] == [False] * 5 + [True, False]
    assert steps[6][1].tolist() == [0.0] * 4
    assert len(set(steps[6][4]["seed"])) == 4


def test_in_the_same_step_the_last_observations_are_set_aside():
    envs, waiting = many(autoreset_mode="SameStep"), many()
    envs.reset(seed=1)
    waiting.reset(seed=1)

    steps = [(envs.step(HELD), waiting.step(HELD)) for _ in range(6)]
    (features, rewards, _, truncations, infos), (last, last_rewards, _, _, last_infos) = steps[-1]

    assert truncations.all()
    assert np.array_equal(np.stack(infos["final_obs"]), last)
    assert np.array_equal(rewards, last_rewards)
    assert infos["final_info"].keys() == last_infos.keys()
    assert np.array_equal(features, waiting.step(HELD)[0])
    assert envs.step(HELD)[1].all()


def test_replicas_face_the_same_traffic_at_costs_of_their_own():
    envs = many(replicas=2)

    _, infos = envs.reset(seed=[5, 6, 7, 8])
    features, *_ = envs.step(HELD)

    assert infos["seed"].tolist() == [5, 6, 7, 8]
    assert infos["trace_seed"].tolist() == [5, 5, 7, 7]
    assert np.array_equal(features[0, 4], features[1, 4])  # request_arrival_rate
    assert not np.array_equal(features[0], features[1])


def test_replicas_share_their_traffic_in_the_next_episodes_too():
    envs = many(replicas=2)
    envs.reset(seed=1)

    infos = [envs.step(HELD)[4] for _ in range(7)][-1]

    assert len(set(infos["seed"])) == 4
    assert infos["trace_seed"].tolist() == infos["seed"][[0, 0, 2, 2]].tolist()


def test_trace_seeds_are_given_one_per_group_of_replicas():
    _, infos = many(replicas=2).reset(seed=1, options={"trace_seed": [8, np.int64(9)]})

    assert infos["trace_seed"].tolist() == [8, 8, 9, 9]


def test_seeds_that_are_left_out_are_drawn():
    envs = many()

    first = envs.reset(seed=[1, None, 3, None])[1]["seed"]
    second = envs.reset()[1]["seed"]

    assert first[[0, 2]].tolist() == [1, 3]
    assert len({*first, *second}) == 8


def test_masks_are_those_of_a_single_environment():
    masks = many().action_masks()

    assert masks.shape == (4, 41)
    assert masks.all()


def test_observations_stay_as_they_were_handed_out():
    envs = many()
    first, _ = envs.reset(seed=1)
    kept = first.copy()

    envs.step(HELD)

    assert np.array_equal(first, kept)


def test_a_step_before_reset_is_refused():
    with pytest.raises(EpisodeNotStartedError):
        many().step(HELD)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"action_mode": "discrete"}, "unknown action_mode 'discrete'; choices: multidiscrete"),
        ({"autoreset_mode": AutoresetMode.DISABLED}, "unknown autoreset_mode 'Disabled'; choices"),
        ({"replicas": 3}, "replicas must be at least 1 and divide num_envs 4, got 3"),
        ({"threads": 0}, "num_envs and threads must be at least 1, got 4 and 0"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        many(**settings)


@pytest.mark.parametrize(
    ("seed", "options", "message"),
    [
        ([1, 2], None, "need 4 seeds, got 2"),
        ([1, 2, 3, -1], None, "seed: .* greater than or equal to 0"),
        ([1, 2, 3, 4.5], None, "seed: Input should be a valid integer"),
        (1, {"trace_seed": [1, 2, 3]}, "need 4 trace seeds, got 3"),
        (1, {"trace_seed": -1}, "trace_seed: .* greater than or equal to 0"),
        (1, {"sead": 1}, "unknown reset option 'sead'; choices: trace_seed, reward_weights"),
        (1, {"reward_weights": {"speed": 1.0}}, "unknown reward_weights speed"),
    ],
)
def test_a_reset_out_of_range_is_refused(seed, options, message):
    with pytest.raises(InvalidInputError, match=message):
        many().reset(seed=seed, options=options)


def test_threads_end_with_the_environment():
    envs = many(threads=2)
    envs.reset(seed=1)
    envs.step(HELD)

    envs.close()

    with pytest.raises(RuntimeError, match="after shutdown"):
        envs.step(HELD)


def test_spaces_are_those_of_a_single_environment_so_many_times():
    envs = many()

    assert envs.single_action_space == gymnasium.spaces.MultiDiscrete([15, 10, 9, 3, 2, 2])
    assert envs.observation_space.shape == (4, 77)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
