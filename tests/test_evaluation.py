import multiprocessing

import pytest

from agents.evaluation import Job, agent_seed_of, jobs_of, play, play_job
from agents.parallel import Workers
from llmserve_env.errors import InactiveActionError, InvalidInputError, UnknownTaskError
from llmserve_env.models import ServeAction
from simulator.environment import ServingEnvironment

HERE = "tests.test_evaluation"


class StrayAgent:
    """Moves a knob that static_workload holds fixed, but not at once."""

    def reset(self, task, seed):
        pass

    def act(self, observation):
        depth = 1 if observation.step_index == 3 else 0
        return ServeAction(**observation.config.model_dump() | {"speculation_depth": depth})


class NeedyAgent(StrayAgent):
    def __init__(self, needed):
        pass


def test_jobs_are_ordered_by_agent_task_and_seed():
    jobs = jobs_of(["a", "b"], ["t"], [1, 2])

    assert jobs == [Job("a", "t", 1), Job("a", "t", 2), Job("b", "t", 1), Job("b", "t", 2)]


def test_a_record_says_what_the_environment_said():
    environment = ServingEnvironment()

    record = play_job(Job("vllm_default", "static_workload", 2_000_000), environment)

    log = environment.log()
    assert len(log.steps) == 200
    assert record.total_reward == pytest.approx(sum(step.reward for step in log.steps))
    assert record.raw_score == pytest.approx(record.total_reward / 200)
    assert record.metrics["finished_requests"] == sum(
        step.metrics.finished_requests for step in log.steps
    )
    assert record.metrics["cost_usd"] == log.steps[-1].metrics.cost_so_far
    assert record.terms["stability"] == 1.0


def test_an_agent_plays_a_seed_alike_whatever_was_played_before():
    alone = play([Job("random", "bursty_workload", 2_000_001)])
    after = play(jobs_of(["random"], ["bursty_workload"], [2_000_000, 2_000_001]))

    assert after[1] == alone[0]


@pytest.mark.slow
def test_two_processes_play_as_one_does():
    jobs = jobs_of(["random", "aimd"], ["static_workload"], [2_000_000, 2_000_001])

    assert play(jobs, workers=Workers(2)) == play(jobs)


@pytest.mark.slow
def test_an_agent_that_breaks_the_rules_in_another_process_is_named():
    jobs = [Job(f"{HERE}:StrayAgent", "static_workload", seed) for seed in (2_000_000, 2_000_001)]

    with pytest.raises(InvalidInputError, match=r"seed 200000[01]: .*speculation_depth"):
        play(jobs, workers=Workers(2))

    assert multiprocessing.active_children() == []


def test_an_agent_that_breaks_the_rules_is_named():
    with pytest.raises(InvalidInputError, match=r"StrayAgent on static_workload.*fixed at 0"):
        play([Job(f"{HERE}:StrayAgent", "static_workload", 2_000_000)])


def test_progress_is_told_after_every_episode():
    told = []

    records = play([Job("vllm_default", "static_workload", 2_000_000)], on_episode=told.append)

    assert told == records


def test_nothing_to_play_yields_nothing():
    assert play([]) == []


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (Job("nobody", "static_workload", 0), InvalidInputError),
        (Job("aimd", "no_such_task", 0), UnknownTaskError),
        (Job(f"{HERE}:NeedyAgent", "static_workload", 0), InvalidInputError),
        (Job('constant:{"speculation_depth": 2}', "static_workload", 0), InactiveActionError),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_is(job, error):
    told = []

    with pytest.raises(error):
        play([Job("vllm_default", "static_workload", 0), job], on_episode=told.append)

    assert told == []


def test_no_process_at_all_is_refused():
    with pytest.raises(InvalidInputError, match="got 0"):
        play([], workers=Workers(0))


def test_the_seed_of_an_agent_does_not_tell_that_of_the_traffic():
    assert agent_seed_of(2_000_000) == agent_seed_of(2_000_000)
    assert agent_seed_of(2_000_000) != agent_seed_of(2_000_001)
    assert agent_seed_of(2_000_000) != 2_000_000
