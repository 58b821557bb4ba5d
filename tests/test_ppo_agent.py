import numpy as np
import pytest

from agents.ppo import agent as agent_module
from agents.ppo.actions import ActionReader
from agents.ppo.agent import PpoAgent
from agents.ppo.fleet import Lanes, Seeds
from agents.ppo.policy import save_policy
from agents.ppo.validation import mean_scores
from agents.rollout import play_episode
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from simulator.environment import ServingEnvironment
from tests.builders import catalogue, task
from tests.ppo_tasks import MENU, one_knob, policy


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "p.npz"
    save_policy(path, policy(), environment_version=shipped_catalogue().environment_version)
    return path


def played(weights, spec, seed):
    environment = ServingEnvironment(catalogue(spec))
    return play_episode(PpoAgent(weights), spec, seed, episodes=environment)


def test_the_agent_earns_what_the_policy_earned_in_the_trainers_own_episodes(weights):
    spec = task(gpus=2, windows=12)

    episode = played(weights, spec, 5)

    batched = mean_scores(Lanes(spec, [Seeds(5, 5)]), policy(), ActionReader([spec], MENU))
    assert episode.rewards.mean() == pytest.approx(batched[0], abs=1e-12)


def test_the_agent_moves_no_knob_that_the_task_holds(weights):
    episode = played(weights, one_knob("speculation_depth", windows=6), 1)

    assert {action.batch_cap for action in episode.actions} == {64}


def test_an_episode_leaves_nothing_behind_for_the_next(weights):
    spec, agent = task(windows=8), PpoAgent(weights)
    environment = ServingEnvironment(catalogue(spec))

    episodes = [play_episode(agent, spec, 3, episodes=environment) for _ in range(2)]

    assert np.array_equal(episodes[0].rewards, episodes[1].rewards)


def test_without_weights_for_the_task_the_agent_says_which_file_is_missing():
    with pytest.raises(InvalidInputError, match=r"made_up\.npz: no such file"):
        PpoAgent().reset(task(), 0)


def test_on_a_variant_the_policy_of_its_task_acts(weights, monkeypatch):
    monkeypatch.setattr(agent_module, "WEIGHTS", weights.parent)
    weights.rename(weights.parent / "bursty_workload.npz")

    PpoAgent().reset(shipped_catalogue().get("bursty_azure_code"), 0)

    with pytest.raises(InvalidInputError, match=r"static_workload\.npz: no such file"):
        PpoAgent().reset(shipped_catalogue().get("static_azure_conv"), 0)
