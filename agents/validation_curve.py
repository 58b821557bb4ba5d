"""The learning curve of any trainer: a policy's raw score on validation seeds, as rows of a CSV."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.batch import mean_rewards
from agents.ppo.curve import Row, write_curve
from agents.statistics import Difference, paired_difference
from agents.tuned_files import constant_for
from llmserve_env.encoding import Features
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.records import FloatArray
from simulator.vector_env import ServingVectorEnv

SEEDS: Final = 64  # pairs that resolve 0.002 to 0.005 of the raw score

# (envs, FEATURES) to (envs, 6) levels, as the MultiDiscrete action space has them.
Act = Callable[[Features], npt.NDArray[Any]]


class ValidationCurve:
    """Plays the validation seeds whenever it is asked, and keeps what was reached in a file.

    The columns are those of train.py's own curves: steps, wall_s and, led by the task's id, mean,
    constant, difference, low and high.

    Attributes:
        constant: The best constant action, which the policy is compared with.
    """

    def __init__(self, task: TaskSpec, path: Path, *, seeds: int = SEEDS) -> None:
        """Play the best constant action once and start the clock.

        Args:
            task: What is learnt.
            path: The CSV, which is written anew after every validation.
            seeds: How many episodes a validation has, from the split's start.

        Raises:
            InvalidInputError: If no best constant is known for the task.
        """
        self._path, self._rows = path, list[Row]()
        self._envs = ServingVectorEnv(task, seeds)
        self._seeds = split_seeds("validation", seeds)
        self.constant = constant_for(task, shipped_catalogue().environment_version)
        self._constant_raw = mean_rewards(task, self._seeds, [self.constant])[0]
        self._started_s = time.perf_counter()

    def add(self, steps: int, act: Act) -> Difference:
        """What the policy gains over the best constant action, a row of the file from now on.

        Args:
            steps: Windows learnt from so far.
            act: The policy; called with the features of all episodes at once, window by window.

        Raises:
            InvalidInputError: If an action lies outside the action space.
            OSError: If the file cannot be written.
        """
        raw = self._play(act)
        found = paired_difference(raw, self._constant_raw)
        values = {
            "mean": float(raw.mean()),
            "constant": float(self._constant_raw.mean()),
            "difference": found.value,
            "low": found.low,
            "high": found.high,
        }
        row = {"steps": float(steps), "wall_s": time.perf_counter() - self._started_s}
        task_id = self._envs.task.task_id
        self._rows.append(row | {f"{task_id}/{name}": value for name, value in values.items()})
        write_curve(self._path, self._rows)
        return found

    def _play(self, act: Act) -> FloatArray:
        """(seeds,) float64, the raw score of every episode."""
        features, _ = self._envs.reset(seed=self._seeds)
        rewards = np.zeros(len(self._seeds))
        for _ in range(self._envs.task.windows):
            features, now, _, _, _ = self._envs.step(act(features))
            rewards += now
        return rewards / self._envs.task.windows
