"""The reward's terms and the grade as OpenEnv's rubrics."""

import asyncio

import pytest

from llmserve_env.tasks import shipped_catalogue
from server.openenv_adapter import OpenEnvServing, WireAction
from simulator.reward import TERMS

ACTION = WireAction(**dict(shipped_catalogue().get("bursty_workload").default_action))


@pytest.fixture
def serving():
    serving = OpenEnvServing()
    serving.reset(task_id="bursty_workload", seed=3)
    return serving


def test_the_terms_of_the_last_window_are_the_rubrics_children(serving):
    observation = serving.step(ACTION)

    scores = {name: child.last_score for name, child in serving.rubric.named_rubrics()}
    assert scores == observation.metadata["reward_terms"]
    assert set(scores) == set(TERMS)


def test_the_rubric_is_nothing_until_the_end_and_then_the_grade(serving):
    rewards = [serving.step(ACTION).reward]
    assert serving.rubric.last_score == 0.0
    assert serving.state.grade is None

    rewards += [serving.step(ACTION).reward for _ in range(199)]

    assert serving.rubric.last_score == serving.state.grade.score
    assert serving.rubric.compute_step_rewards() == rewards
    assert serving.state.grade.raw_score == pytest.approx(sum(rewards) / 200)


def test_the_last_step_that_is_awaited_ends_with_the_grade(serving):
    async def episode():
        for _ in range(200):
            observation = await serving.step_async(ACTION)
        return observation

    assert asyncio.run(episode()).done is True
    assert serving.rubric.last_score == serving.state.grade.score


def test_a_reset_empties_the_rubric(serving):
    serving.step(ACTION)

    serving.reset(seed=4)

    assert serving.rubric.trajectory == []


def test_the_rubric_of_a_variant_ends_at_nothing(serving):
    serving.reset(task_id="bursty_azure_code", seed=3)

    rewards = [serving.step(ACTION).reward for _ in range(200)]

    assert serving.rubric.last_score == 0.0
    assert serving.rubric.compute_step_rewards() == rewards
    assert serving.state.grade is None
