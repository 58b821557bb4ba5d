"""Plays agents over tasks and seeds, by one worker or many, and records every episode."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Final

from agents.base import Accountable, Agent
from agents.parallel import IN_PROCESS, Workers, in_order, open_pool
from agents.registry import make_agent
from agents.rollout import Episode, play_episode
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.gym_env import Episodes
from llmserve_env.models import MAX_SEED, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.environment import ServingEnvironment
from simulator.reward import TERMS
from simulator.rng import stream
from simulator.validity import Excursion, observed_excursions

# Sums over the windows of an episode.
COUNTED: Final = ("finished_requests", "dropped_requests", "rejected_requests", "eviction_events")
# Means over the windows of an episode.
AVERAGED: Final = ("goodput_tps", "throughput_tps", "gpu_memory_reserved_gb")


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """What an agent reached in one episode.

    Attributes:
        agent: As it was asked for.
        task_id: Task.
        seed: Of the episode and of its traffic.
        raw_score: Mean reward of a window under the task's own weights.
        total_reward: Sum of the rewards.
        terms: Mean of every term of the reward over the windows, by name.
        metrics: Sums of COUNTED and means of AVERAGED over the windows, `cost_usd`, and what an
            agent that is Accountable says that it took.
        excursions: Where the episode left what its profile was held against.
    """

    agent: str
    task_id: str
    seed: int
    raw_score: float
    total_reward: float
    terms: dict[str, float]
    metrics: dict[str, float]
    excursions: tuple[Excursion, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to be played."""

    agent: str
    task_id: str
    seed: int


def jobs_of(agents: Sequence[str], task_ids: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Every agent on every task and seed, in this order, the seeds fastest."""
    return [Job(*fields) for fields in product(agents, task_ids, seeds)]


def play(
    wanted: Sequence[Job],
    *,
    workers: Workers = IN_PROCESS,
    on_episode: Callable[[EpisodeRecord], None] | None = None,
) -> list[EpisodeRecord]:
    """One record per job, in the order of the jobs.

    Every episode has an agent of its own, so the records do not depend on who plays it where.

    Args:
        wanted: What is played.
        workers: Who play; this process if left out.
        on_episode: Called after every episode, in order.

    Raises:
        LLMServeError: If an agent or a task does not exist, an agent cannot play a task or does
            what is not allowed, or there is no process to play.
    """
    check_jobs(wanted)
    records = []
    with open_pool(workers, jobs=len(wanted)) as pool:
        for record in in_order(pool.completed(play_job, wanted)):
            records.append(record)
            if on_episode is not None:
                on_episode(record)
    return records


def check_jobs(wanted: Sequence[Job]) -> None:
    """See that every agent can play every task that it is asked to, before anything is played.

    Whoever waits for hours should know at once.

    Raises:
        LLMServeError: If an agent or a task does not exist, or an agent cannot play a task.
    """
    for name, task_id in dict.fromkeys((job.agent, job.task_id) for job in wanted):
        make_checked(name).reset(shipped_catalogue().get(task_id), 0)


def make_checked(name: str) -> Agent:
    """A new agent; what its class needs to be made is nothing.

    Raises:
        InvalidInputError: If the name stands for nothing, or making it takes arguments.
    """
    try:
        return make_agent(name)
    except TypeError as error:
        raise InvalidInputError(f"agent {name!r} cannot be made: {error}") from error


@dataclass(frozen=True, slots=True)
class PlayedJob:
    """An episode and how it was played.

    Attributes:
        record: What was reached.
        actions: The setting that was in force in every window.
    """

    record: EpisodeRecord
    actions: tuple[ServeAction, ...]


def play_job(job: Job, episodes: Episodes | None = None) -> EpisodeRecord:
    """The record of one episode; arguments and errors as those of `play_whole_job`."""
    return play_whole_job(job, episodes).record


def play_whole_job(job: Job, episodes: Episodes | None = None) -> PlayedJob:
    """The record of one episode, and its actions.

    Args:
        job: What is played by whom.
        episodes: Where it is played; the environment that this process keeps if left out.

    Raises:
        InvalidInputError: If the agent does not exist or does what is not allowed, naming the job.
        UnknownTaskError: If the task does not exist.
    """
    shipped_catalogue().get(job.task_id)
    try:
        return _play(make_agent(job.agent), job, episodes)
    except LLMServeError as error:
        # One class for all of them: the others do not survive the way between processes.
        where = f"{job.agent} on {job.task_id}, seed {job.seed}"
        raise InvalidInputError(f"{where}: {error}") from error


def play_with(agent: Agent, job: Job, episodes: Episodes | None = None) -> EpisodeRecord:
    """The record of one episode of an agent that exists already.

    Args:
        agent: Plays.
        job: What is played; `agent` is the name in the record.
        episodes: Where it is played; the environment that this process keeps if left out.

    Raises:
        LLMServeError: If the task does not exist, or the agent does what is not allowed.
        LanguageModelError: If no action was the agent's own.
    """
    return _play(agent, job, episodes).record


def _play(agent: Agent, job: Job, episodes: Episodes | None) -> PlayedJob:
    task = shipped_catalogue().get(job.task_id)
    tally = _Tally()
    episode = play_episode(
        agent,
        task,
        job.seed,
        episodes=_environment() if episodes is None else episodes,
        agent_seed=agent_seed_of(job.seed),
        on_window=tally.add,
    )
    account = agent.account() if isinstance(agent, Accountable) else {}
    record = _record(job, task, episode, tally.metrics(task.windows) | account)
    record = replace(record, excursions=observed_excursions(task, tally.simulated))
    return PlayedJob(record, tuple(window.config for window in episode.windows))


def agent_seed_of(seed: int) -> int:
    """The seed of an agent's own random numbers: fixed by the episode's, which it does not tell."""
    return int(stream(seed, "agent").integers(MAX_SEED))


class _Tally:
    """Adds up the windows of an episode."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys((*COUNTED, *AVERAGED), 0.0)
        self.simulated: list[ServeObservation] = []

    def add(self, observation: ServeObservation) -> None:
        if "real" not in observation.metadata:
            self.simulated.append(observation)
        for name in self._sums:
            self._sums[name] += getattr(observation, name)

    def metrics(self, windows: int) -> dict[str, float]:
        averages = {name: self._sums[name] / windows for name in AVERAGED}
        return {name: self._sums[name] for name in COUNTED} | averages


def _record(job: Job, task: TaskSpec, episode: Episode, metrics: dict[str, float]) -> EpisodeRecord:
    terms = dict(zip(TERMS, episode.terms.mean(axis=0).tolist(), strict=True))
    return EpisodeRecord(
        agent=job.agent,
        task_id=job.task_id,
        seed=job.seed,
        # Summed exactly, as the grader sums.
        raw_score=math.fsum(episode.rewards) / task.windows,
        total_reward=math.fsum(episode.rewards),
        terms=terms,
        metrics=metrics | {"cost_usd": episode.last.cost_so_far},
    )


@cache
def _environment() -> ServingEnvironment:
    """The one environment of this process: its buffers serve every episode."""
    return ServingEnvironment()
