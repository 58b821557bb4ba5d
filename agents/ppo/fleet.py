"""Many episodes at once, of one task or several, on one row of features and actions each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agents.ppo.actions import Features, FloatArray
from llmserve_env.splits import split_range
from llmserve_env.tasks import TaskSpec
from simulator.deployment import draw_step_costs
from simulator.reward import weight_row
from simulator.rng import stream
from simulator.vector_engine import VectorEngine
from simulator.workload import task_requests


class Seeds(NamedTuple):
    """What decides an episode: its traffic, and everything else."""

    trace: int
    episode: int


class Lanes:
    """Episodes of one task that start and end together.

    Attributes:
        task: What is played.
        features: (envs, FEATURES) float32, what is known now.
        windows: How many windows were played.
    """

    def __init__(self, task: TaskSpec, seeds: Sequence[Seeds], *, threads: int = 1) -> None:
        """Start the first episodes.

        Args:
            task: What is played.
            seeds: One per environment.
            threads: How many threads simulate; the numbers do not depend on it.

        Raises:
            InvalidInputError: If the task's deployment cannot be built.
        """
        self.task = task
        self._engine = VectorEngine(task, len(seeds), threads=threads)
        self._weights = np.tile(weight_row(task.reward), (len(seeds), 1))
        self.deal(seeds)

    def deal(self, seeds: Sequence[Seeds]) -> None:
        """Start an episode per environment; traffic that several have is drawn once."""
        task = self.task
        traces = dict.fromkeys(given.trace for given in seeds)
        drawn = {trace: task_requests(task, trace) for trace in traces}
        costs = [draw_step_costs(task.deployment, given.episode) for given in seeds]
        self._dealt = [drawn[given.trace] for given in seeds], costs
        self.restart()

    def restart(self) -> None:
        """Start the same episodes again, without drawing their traffic anew."""
        batches, costs = self._dealt
        self.features = self._engine.reset(batches, costs)
        self.windows = 0

    def step(self, rows: FloatArray) -> FloatArray:
        """Play a window under these actions (envs, 6); (envs,) float64, its rewards."""
        self.features = self._engine.step(np.ascontiguousarray(rows), self._weights)
        self.windows += 1
        return self._engine.rewards[:, -1].copy()

    def close(self) -> None:
        """End the threads."""
        self._engine.close()


class Moment(NamedTuple):
    """What a window brought.

    Attributes:
        rewards: (envs,) float64.
        seen: (envs, FEATURES) float32, at its end, before a new episode began.
        ended: (envs,) bool, whether it was the episode's last.
    """

    rewards: FloatArray
    seen: Features
    ended: npt.NDArray[np.bool_]


class Fleet:
    """Training episodes without end: every one on traffic that was drawn anew.

    Rows lie task after task, and within a task trace after trace with its replicas side by side.

    Attributes:
        tasks: One per row.
        features: (envs, FEATURES) float32, to act on.
        deals: How often episodes were dealt out, tasks counted one by one; with the seed it
            decides the next.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        *,
        traces: int,
        replicas: int,
        seed: int,
        deals: int = 0,
        threads: int = 1,
    ) -> None:
        """Start the first episodes.

        Args:
            tasks: Which share the traces as evenly as can be.
            traces: How many different traces run at once, at least one per task.
            replicas: Episodes on every trace, each with step costs of its own.
            seed: Of the order in which seeds of the train split are drawn.
            deals: How often was dealt before, when a training is taken up again.
            threads: How many threads simulate.
        """
        self.deals, self._seed, self._replicas = deals, seed, replicas
        groups = np.bincount(np.arange(max(traces, len(tasks))) % len(tasks)).tolist()
        self._lanes = [
            Lanes(task, self._draw(count), threads=threads)
            for task, count in zip(tasks, groups, strict=True)
        ]
        ends = np.cumsum([len(lanes.features) for lanes in self._lanes]).tolist()
        self._parts = [slice(low, high) for low, high in zip([0, *ends], ends, strict=False)]
        self.tasks = tuple(lanes.task for lanes in self._lanes for _ in lanes.features)
        self.features: Features = np.concatenate([lanes.features for lanes in self._lanes])

    @property
    def at_start(self) -> bool:
        """Whether every episode has just begun, so that `deals` says all there is to say."""
        return all(lanes.windows == 0 for lanes in self._lanes)

    def step(self, rows: FloatArray) -> Moment:
        """Play a window of every episode; those that end give way to new ones."""
        rewards, seen = np.empty(len(rows)), np.empty_like(self.features)
        ended = np.zeros(len(rows), np.bool_)
        after = np.empty_like(self.features)
        for lanes, part in zip(self._lanes, self._parts, strict=True):
            rewards[part] = lanes.step(rows[part])
            seen[part] = lanes.features
            if lanes.windows == lanes.task.windows:
                ended[part] = True
                lanes.deal(self._draw((part.stop - part.start) // self._replicas))
            after[part] = lanes.features
        self.features = after
        return Moment(rewards, seen, ended)

    def close(self) -> None:
        """End the threads."""
        for lanes in self._lanes:
            lanes.close()

    def _draw(self, groups: int) -> list[Seeds]:
        """The seeds of the next episodes of one task."""
        rng = stream(self._seed, f"agents/ppo/deal/{self.deals}")
        self.deals += 1
        split = split_range("train")
        traces = rng.integers(split.start, split.stop, groups)
        episodes = rng.integers(split.start, split.stop, (groups, self._replicas))
        return [
            Seeds(int(trace), int(episode))
            for trace, row in zip(traces, episodes, strict=True)
            for episode in row
        ]
