"""The baseline agents' scores on a seed of every task, for GET and POST /baseline."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.evaluation import EpisodeRecord, Job, play_job
from agents.registry import agent_entry, agent_names
from grader.grading import constant_tally
from grader.references import shipped_references
from grader.scoring import clipped, score_unclipped
from llmserve_env.errors import InvalidInputError
from llmserve_env.gym_env import Episodes
from llmserve_env.models import Seed
from llmserve_env.splits import split_range
from llmserve_env.tasks import shipped_catalogue
from server.jobs import Turns, in_thread
from server.refusals import BaselineTimeoutError
from simulator.environment import ServingEnvironment

# Quick ones only: the planners of the registry are played when they are asked for by name.
SUITE: Final = ("random", "vllm_default", "heuristic", "best_constant", "reactive")
DEFAULT_SEED: Final = split_range("test").start
MAX_AGENTS: Final = 16
CACHED_ANSWERS: Final = 64


class Closed(BaseModel):
    """Frozen, closed to unknown fields, and free of NaN and Infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BaselineRequest(Closed):
    """Which baselines are played; nothing at all means the usual ones on every task."""

    task_id: str | None = Field(default=None, description="A task, or every task if left out.")
    seed: Seed = Field(default=DEFAULT_SEED, description="The first test seed if left out.")
    agents: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_AGENTS)] = SUITE


class BaselineResult(Closed):
    """What an agent reached in one episode.

    `score` is on the grader's scale, with `score_unclipped` before clipping; `raw_score` is the
    mean reward of a window; `terms` are the means of the reward's terms.
    """

    score: float
    score_unclipped: float
    raw_score: float
    total_reward: float
    terms: dict[str, float]
    metrics: dict[str, float]


class BaselineResponse(Closed):
    """Answer to GET and POST /baseline: results by task and agent."""

    environment_version: str
    mode: Literal["deterministic"] = "deterministic"
    seed: int
    tasks: dict[str, dict[str, BaselineResult]]


def run_baselines(
    request: BaselineRequest, episodes: Episodes | None = None, *, limit_s: float = math.inf
) -> BaselineResponse:
    """Play what is asked for.

    Args:
        request: Tasks, seed and agents.
        episodes: Where it is played; a new environment of this process if left out.
        limit_s: No episode is begun when so much time has passed.

    Raises:
        BaselineTimeoutError: If that is not enough for all of them.
        UnknownTaskError: If there is no such task.
        NotGradedError: If the task is a variant.
        InvalidInputError: If there is no such agent, or it sees the future.
    """
    check_request(request)
    played_in = ServingEnvironment() if episodes is None else episodes
    deadline_s = time.monotonic() + limit_s
    tasks: dict[str, dict[str, BaselineResult]] = {task: {} for task in tasks_of(request)}
    for task_id, results in tasks.items():
        for name in request.agents:
            if time.monotonic() >= deadline_s:
                raise BaselineTimeoutError(limit_s)
            results[name] = result_of(play_job(Job(name, task_id, request.seed), played_in))
    return BaselineResponse(
        environment_version=shipped_catalogue().environment_version,
        seed=request.seed,
        tasks=tasks,
    )


def tasks_of(request: BaselineRequest) -> Sequence[str]:
    """The graded tasks that are meant; raises as `run_baselines` does."""
    catalogue = shipped_catalogue()
    if request.task_id is None:
        return [task.task_id for task in catalogue.tasks]
    task = catalogue.get(request.task_id)
    shipped_references().scale(task, catalogue.environment_version)  # refuses what is not graded
    return [task.task_id]


def result_of(record: EpisodeRecord) -> BaselineResult:
    """An episode on the grader's scale, beside the best constant on the same traffic."""
    catalogue = shipped_catalogue()
    reference = shipped_references().get(record.task_id, catalogue.environment_version)
    constant = constant_tally(
        catalogue.get(record.task_id), reference.best_constant, record.seed, record.seed
    )
    score = score_unclipped(record.raw_score, constant.raw_score, reference)
    return BaselineResult(
        score=clipped(score),
        score_unclipped=score,
        raw_score=record.raw_score,
        total_reward=record.total_reward,
        terms=record.terms,
        metrics=record.metrics,
    )


def check_request(request: BaselineRequest) -> None:
    """Refuse what cannot be played; raises as `run_baselines` does."""
    tasks_of(request)
    playable = [name for name in agent_names() if not agent_entry(name).sees_future]
    for name in request.agents:
        if name not in playable:
            raise InvalidInputError(
                f"agents: {name!r:.80} is no baseline; known: {', '.join(playable)}"
            )


class Baselines:
    """Answers kept by what was asked, at most one suite playing at a time."""

    def __init__(self, *, limit_s: float, max_waiting: int) -> None:
        """Give each answer so much time, and let so many wait for theirs."""
        self._answers: OrderedDict[BaselineRequest, BaselineResponse] = OrderedDict()
        self._limit_s, self._turns = limit_s, Turns(at_once=1, max_waiting=max_waiting)

    async def answer(self, request: BaselineRequest) -> BaselineResponse:
        """The answer, played off the event loop if it is not known yet.

        The environment's version is fixed while a process lives, so answers never go stale.

        Raises:
            UnknownTaskError: As `run_baselines`.
            InvalidInputError: As `run_baselines`.
            BaselineTimeoutError: As `run_baselines`.
            ServerBusyError: If too many wait already.
        """
        check_request(request)
        if request not in self._answers:
            async with self._turns.turn():
                # Whoever waited for a turn may find that the one before asked for the same.
                if request not in self._answers:
                    self._answers[request] = await in_thread(
                        run_baselines, request, limit_s=self._limit_s
                    )
        self._answers.move_to_end(request)
        while len(self._answers) > CACHED_ANSWERS:
            self._answers.popitem(last=False)
        return self._answers[request]
