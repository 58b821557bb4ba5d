import json
import sys
from zipfile import ZipFile

import gymnasium
import numpy as np
import pytest

import evaluate
from agents.registry import make_agent
from agents.rollout import play_episode
from llmserve_env.action_encoding import ActionDecoder
from llmserve_env.errors import InvalidInputError
from llmserve_env.gym_env import LLMServeGymEnv
from simulator.environment import ServingEnvironment
from tests.builders import catalogue, task

SPEC = task(windows=40, active_actions=["batch_cap", "kv_budget_fraction", "speculation_depth"])
SEED = 5
TEST_SEED = 2_000_003  # the fourth of the split


def environment(action_mode="multidiscrete"):
    return LLMServeGymEnv(ServingEnvironment(catalogue(SPEC)), task=SPEC, action_mode=action_mode)


def model_of(kind, env):
    """An untrained model; its weights are enlarged, so that numbers in a box do not stay at 0."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("sb3_contrib")
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO

    kinds = {"PPO": PPO, "MaskablePPO": MaskablePPO}
    model = kinds[kind]("MlpPolicy", env, n_steps=16, batch_size=16, seed=3, device="cpu")
    with torch.no_grad():
        model.policy.get_parameter("action_net.weight").mul_(30.0)
    return model


def steps_of(model, env, seed):
    """The arrays that the model sends through Gymnasium in an episode, and its rewards."""
    features, _ = env.reset(seed=seed)
    arrays, rewards, is_over = [], [], False
    while not is_over:
        masks = {"action_masks": env.unwrapped.action_masks()} if is_maskable(model) else {}
        array, _ = model.predict(features, deterministic=True, **masks)
        features, reward, _, is_over, _ = env.step(array)
        arrays.append(array)
        rewards.append(reward)
    return arrays, rewards


def is_maskable(model):
    return type(model).__name__ == "MaskablePPO"


def a_file(path, module):
    """What tells the kinds apart, and nothing else."""
    with ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {"__module__": module}}))
    return f"sb3:{path}"


def reset(name):
    make_agent(name).reset(SPEC, 0)


@pytest.mark.needs_sb3
@pytest.mark.parametrize("kind", ["PPO", "MaskablePPO"])
def test_the_agent_does_what_the_model_does_through_gymnasium(kind, tmp_path):
    model = model_of(kind, environment())
    model.save(tmp_path / "m.zip")

    episode = play_episode(
        make_agent(f"sb3:{tmp_path / 'm.zip'}"),
        SPEC,
        SEED,
        episodes=ServingEnvironment(catalogue(SPEC)),
    )

    arrays, rewards = steps_of(model, environment(), SEED)
    decoder = ActionDecoder(SPEC)
    assert list(episode.actions) == [decoder.from_indices(array) for array in arrays]
    assert len(set(episode.actions)) > 1
    assert np.array_equal(episode.rewards, rewards)


@pytest.mark.needs_sb3
def test_a_policy_of_numbers_in_a_box_is_read_as_such(tmp_path):
    model = model_of("PPO", environment("box"))
    model.save(tmp_path / "m.zip")

    episode = play_episode(
        make_agent(f"sb3:{tmp_path / 'm.zip'}"),
        SPEC,
        SEED,
        episodes=ServingEnvironment(catalogue(SPEC)),
    )

    arrays, _ = steps_of(model, environment("box"), SEED)
    assert list(episode.actions) == [ActionDecoder(SPEC).from_box(array) for array in arrays]


@pytest.mark.needs_sb3
def test_evaluate_finds_the_score_that_the_registered_id_gives(tmp_path, capsys):
    env = gymnasium.make("llmserve/Static-v1")
    model = model_of("PPO", env)
    model.save(tmp_path / "m.zip")
    flags = ["--task", "static_workload", "--episodes", "1", "--seed", "3", "--jobs", "1"]

    status = evaluate.main(
        [
            *("--agent", f"sb3:{tmp_path / 'm.zip'}", *flags, "--baselines", "none"),
            *("--json", str(tmp_path / "result.json")),
        ]
    )

    (episode,) = json.loads((tmp_path / "result.json").read_text())["episodes"]
    _, rewards = steps_of(model, env, TEST_SEED)
    assert status == 0
    assert episode["seed"] == TEST_SEED
    assert episode["raw_score"] == pytest.approx(np.mean(rewards), abs=1e-12)
    assert "sb3:" in capsys.readouterr().out


def test_a_missing_file_is_named(capsys):
    assert evaluate.main(["--agent", "sb3:no/such.zip", "--task", "static_workload"]) == 2
    assert "no/such.zip: no such file" in capsys.readouterr().err


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "m.zip").write_text("not a zip")

    with pytest.raises(InvalidInputError, match=r"m\.zip: no model of stable-baselines3"):
        reset(f"sb3:{tmp_path / 'm.zip'}")


def test_a_zip_without_a_policy_is_refused(tmp_path):
    with ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("data", "{}")

    with pytest.raises(InvalidInputError, match=r"m\.zip: no model of stable-baselines3"):
        reset(f"sb3:{tmp_path / 'm.zip'}")


def test_a_policy_of_another_kind_is_refused_before_it_is_loaded(tmp_path):
    name = a_file(tmp_path / "m.zip", "sb3_contrib.common.recurrent.policies")

    with pytest.raises(InvalidInputError, match=r"its policy is of sb3_contrib\.common\.recurrent"):
        reset(name)


@pytest.mark.parametrize("package", ["stable_baselines3", "sb3_contrib"])
def test_without_the_packages_the_extra_is_named(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    name = a_file(tmp_path / "m.zip", "stable_baselines3.common.policies")

    with pytest.raises(InvalidInputError, match="uv sync --extra sb3"):
        reset(name)


@pytest.mark.needs_sb3
def test_a_file_that_lacks_its_weights_is_refused(tmp_path):
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("sb3_contrib")
    name = a_file(tmp_path / "m.zip", "stable_baselines3.common.policies")

    with pytest.raises(InvalidInputError, match="stable-baselines3 cannot read it"):
        reset(name)


@pytest.mark.needs_sb3
def test_a_policy_for_another_environment_is_refused(tmp_path):
    model_of("PPO", gymnasium.make("CartPole-v1")).save(tmp_path / "m.zip")

    with pytest.raises(InvalidInputError, match=r"the policy sees Box.*\(4,\)"):
        reset(f"sb3:{tmp_path / 'm.zip'}")


@pytest.mark.needs_sb3
def test_a_policy_with_other_actions_is_refused(tmp_path):
    menu = gymnasium.wrappers.TransformAction(
        environment(), lambda index: np.zeros(6, np.int64) + index, gymnasium.spaces.Discrete(2)
    )
    model_of("PPO", menu).save(tmp_path / "m.zip")

    with pytest.raises(InvalidInputError, match=r"the policy acts in Discrete\(2\), the tasks in"):
        reset(f"sb3:{tmp_path / 'm.zip'}")
