"""Plays fixed actions and open-loop schedules on many seeds at once, for whoever searches for them.

>>> batch = Batch(task, split_seeds("train", 16))
>>> batch.play(action_row(task.default_action)).mean()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import KNOBS, ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.deployment import draw_step_costs
from simulator.engine import SimulatedEngine, action_row
from simulator.reward import weight_row
from simulator.state import State, copy_state
from simulator.workload import task_requests

# Environments stepped by one call: few enough that their state stays in the processor's cache.
GROUP: Final = 16

FloatArray = npt.NDArray[np.float64]


class Batch:
    """One episode per seed of one task, ready to be played again and again from its start.

    Rewards equal those of ServingEnvironment bit for bit, under the task's own weights. Actions
    are not checked: KnobMenu of agents/knobs.py makes only such as the task allows.
    """

    def __init__(self, task: TaskSpec, seeds: Sequence[int]) -> None:
        """Draw the traffic and the step costs of every seed.

        Raises:
            InvalidInputError: If there is no seed, or the task's deployment cannot be built.
        """
        if not seeds:
            raise InvalidInputError("a batch needs at least one seed, got none")
        self.task = task
        self.seeds = tuple(seeds)
        engine = SimulatedEngine(task, len(self.seeds))
        for index, seed in enumerate(self.seeds):
            costs = draw_step_costs(task.deployment, seed)
            engine.reset(index, task_requests(task, seed), costs)
        self._start = engine.state
        self._weights = np.tile(weight_row(task.reward), (len(self.seeds), 1))
        self._engine = SimulatedEngine(task)

    def play(self, actions: FloatArray, *, first: int = 0, last: int | None = None) -> FloatArray:
        """(envs, windows) float64, the reward of every window of the episodes `first` to `last`.

        Args:
            actions: In the form of engine.action_row: (6,) for all, (envs, 6) held throughout, or
                (windows, envs, 6). A schedule may be shorter than the task; so is the result.
            first: Index of the first seed played.
            last: Index behind the last seed played; all of them if left out.

        Raises:
            InvalidInputError: If the actions have another shape.
        """
        chosen = range(len(self.seeds))[first:last]
        schedule = self._schedule(actions, len(chosen))
        rewards = np.empty((len(chosen), len(schedule)))
        for begin in range(0, len(chosen), GROUP):
            rows = slice(begin, min(begin + GROUP, len(chosen)))
            envs = slice(chosen.start + rows.start, chosen.start + rows.stop)
            state = State._make(array[envs] for array in self._start)
            self._engine.state = copy_state(state)
            for window, row in enumerate(schedule):
                self._engine.step(row[rows], self._weights[envs])
                rewards[rows, window] = self._engine.state.rewards["reward"]
        return rewards

    def _schedule(self, actions: FloatArray, envs: int) -> FloatArray:
        """(windows, envs, 6), what each episode does in each window."""
        given = np.asarray(actions, np.float64)
        if given.ndim == 3:
            fits = given.shape[1:] == (envs, len(KNOBS)) and 0 < len(given) <= self.task.windows
            if fits:
                return np.ascontiguousarray(given)
        elif given.shape in ((len(KNOBS),), (envs, len(KNOBS))):
            # A true copy: the engine is compiled for arrays that may be written to.
            return np.tile(np.broadcast_to(given, (envs, len(KNOBS))), (self.task.windows, 1, 1))
        raise InvalidInputError(
            f"actions must be ({len(KNOBS)},), ({envs}, {len(KNOBS)}) or (1 to "
            f"{self.task.windows}, {envs}, {len(KNOBS)}), got {given.shape}"
        )


def mean_rewards(
    task: TaskSpec, seeds: Sequence[int], actions: Sequence[ServeAction | FloatArray]
) -> FloatArray:
    """(actions, seeds) float64, the raw score of each action or open-loop schedule on each seed.

    Args:
        task: What is played.
        seeds: On which episodes.
        actions: ServeAction or (6,) for a constant; (windows, 6), all windows of the task, for a
            schedule that is the same on every seed.

    Raises:
        InvalidInputError: If the task cannot be built or an array has another shape.
    """
    batch = Batch(task, seeds)
    return np.array([_mean_rewards(batch, action) for action in actions])


def _mean_rewards(batch: Batch, action: ServeAction | FloatArray) -> FloatArray:
    row = action_row(action) if isinstance(action, ServeAction) else np.asarray(action)
    if row.ndim == 2:
        if len(row) != batch.task.windows:
            raise InvalidInputError(
                f"a schedule must have {batch.task.windows} windows, got {len(row)}"
            )
        row = np.repeat(row[:, None, :], len(batch.seeds), axis=1)
    scores: FloatArray = batch.play(row).mean(axis=1)
    return scores
