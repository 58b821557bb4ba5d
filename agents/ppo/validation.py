"""How good a policy is: its likeliest actions on validation seeds, beside the best constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.batch import mean_rewards
from agents.ppo.actions import ActionReader, FloatArray
from agents.ppo.fleet import Lanes, Seeds
from agents.ppo.policy import Policy
from agents.ppo.recipe import KvMenu
from agents.statistics import paired_difference
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec
from llmserve_env.workloads import Spec


class TaskResult(Spec):
    """What a policy reached on the validation seeds of a task.

    Attributes:
        seeds: How many, from the split's start.
        mean: Mean raw score.
        constant: That of the best constant action.
        difference: Mean of their differences, seed by seed.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
    """

    seeds: int
    mean: float
    constant: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _TaskSeeds:
    lanes: Lanes
    reader: ActionReader
    constant: FloatArray


class Validation:
    """The validation seeds of some tasks, played by one policy after another."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        constants: Sequence[ServeAction],
        menu: KvMenu,
        *,
        seeds: int,
        threads: int = 1,
    ) -> None:
        """Play the constants once.

        Args:
            tasks: On which tasks.
            constants: The best constant action of each.
            menu: Of the policies' KV head.
            seeds: How many per task, from the split's start.
            threads: How many threads simulate.
        """
        chosen = split_seeds("validation", seeds)
        self._tasks = [
            _TaskSeeds(
                lanes=Lanes(task, [Seeds(seed, seed) for seed in chosen], threads=threads),
                reader=ActionReader([task] * seeds, menu),
                constant=mean_rewards(task, chosen, [constant])[0],
            )
            for task, constant in zip(tasks, constants, strict=True)
        ]

    def play(self, policy: Policy) -> dict[str, TaskResult]:
        """What the policy reaches, by task."""
        return {entry.lanes.task.task_id: _result(entry, policy) for entry in self._tasks}

    def close(self) -> None:
        """End the threads."""
        for entry in self._tasks:
            entry.lanes.close()


def _result(entry: _TaskSeeds, policy: Policy) -> TaskResult:
    raw = mean_scores(entry.lanes, policy, entry.reader)
    difference = paired_difference(raw, entry.constant)
    return TaskResult(
        seeds=len(raw),
        mean=float(raw.mean()),
        constant=float(entry.constant.mean()),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
    )


def mean_scores(lanes: Lanes, policy: Policy, reader: ActionReader) -> FloatArray:
    """(envs,) float64, the raw score of the policy's likeliest actions in every episode."""
    lanes.restart()
    total = np.zeros(len(lanes.features))
    for _ in range(lanes.task.windows):
        features = lanes.features
        levels = policy.levels(np.hstack([features, reader.active]), reader.masks)
        total += lanes.step(reader.rows(levels, features))
    return total / lanes.task.windows
