"""Episodes of a small made-up task, their logs, and anchors of its scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grader.references import ReferenceScores
from llmserve_env.models import EpisodeLog, ServeAction
from llmserve_env.tasks import Catalogue
from simulator.environment import ServingEnvironment
from tests.builders import ACTION, action, catalogue, stream, task

WINDOWS = 12
# Enough traffic that a small batch cap misses objectives.
TASK = task(
    windows=WINDOWS,
    workload={"streams": [stream(arrivals={"family": "poisson", "rate_rps": 40.0})]},
    linear_spread=0.12,
)
CATALOGUE = catalogue(TASK)
BEST_CONSTANT = ACTION | {"batch_cap": 128, "kv_budget_fraction": 0.5}


def references(**changes: Any) -> ReferenceScores:
    """Anchors of the made-up task: 0.1 above the best constant, 0.4 and 0.2 below it."""
    anchors = {
        "best_constant": BEST_CONSTANT,
        "agents": {},
        "gap_above": 0.1,
        "gap_below": 0.4,
        "gap_vllm_default": 0.2,
    }
    fields = {
        "environment_version": "0.0.0",
        "split": "test",
        "episodes": 64,
        "tasks": {TASK.task_id: anchors},
    }
    return ReferenceScores.model_validate(fields | changes)


def played(
    actions: Iterable[ServeAction],
    *,
    seed: int = 7,
    tasks: Catalogue = CATALOGUE,
    **options: Any,
) -> ServingEnvironment:
    """An environment in which these actions were played."""
    environment = ServingEnvironment(tasks)
    environment.reset(task_id=tasks.tasks[0].task_id, seed=seed, **options)
    for setting in actions:
        environment.advance(setting)
    return environment


def log_of(windows: int = WINDOWS, *, seed: int = 7, **options: Any) -> EpisodeLog:
    """The log of so many windows of changing batch caps."""
    actions = [action(batch_cap=4 + 20 * (index % 5)) for index in range(windows)]
    return played(actions, seed=seed, **options).log()


def with_step(log: EpisodeLog, index: int, **changes: Any) -> EpisodeLog:
    """The log with some fields of one step replaced."""
    steps = list(log.steps)
    steps[index] = steps[index].model_copy(update=changes)
    return log.model_copy(update={"steps": tuple(steps)})


def with_metric(log: EpisodeLog, index: int, **changes: Any) -> EpisodeLog:
    """The log with some metrics of one step replaced."""
    return with_step(log, index, metrics=log.steps[index].metrics.model_copy(update=changes))
