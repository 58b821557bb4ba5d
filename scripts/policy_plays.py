"""Plays the same episodes again and again: a schedule, a policy, or some knobs of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.base import Agent
from agents.ppo.actions import TIER, ActionReader, FloatArray
from agents.ppo.policy import Policy
from agents.rollout import play_episode
from llmserve_env.models import KNOBS
from llmserve_env.tasks import TaskSpec
from simulator.deployment import draw_step_costs
from simulator.engine import action_row
from simulator.reward import TERMS, weight_row
from simulator.vector_engine import VectorEngine
from simulator.workload import task_requests

KNOB_COUNT: Final = len(KNOBS)


@dataclass(frozen=True, slots=True)
class Play:
    """What was done in some episodes of one task, and what came of it.

    Attributes:
        rows: (windows, seeds, 6) float64, the actions in the order of KNOBS.
        rewards: (windows, seeds) float64.
        terms: (windows, seeds, 9) float64 in [0, 1], the reward's terms in the order of TERMS.
    """

    rows: FloatArray
    rewards: FloatArray
    terms: FloatArray

    @property
    def scores(self) -> FloatArray:
        """(seeds,) float64, the raw score of every episode."""
        return np.asarray(self.rewards.mean(axis=0))


class Course:
    """Episodes of one task whose traffic is drawn once.

    Attributes:
        task: What is played.
        seeds: Of the episodes.
        arrivals: (windows, seeds) int64, requests that arrive in a window.
        load_levels: (seeds,) float64, the load level drawn for every episode.
    """

    def __init__(self, task: TaskSpec, seeds: Sequence[int]) -> None:
        """Draw the traffic and the step costs of every seed.

        Raises:
            InvalidInputError: If the task's deployment cannot be built.
        """
        self.task, self.seeds = task, tuple(seeds)
        self._requests = [task_requests(task, seed) for seed in seeds]
        self._costs = [draw_step_costs(task.deployment, seed) for seed in seeds]
        self._weights = np.tile(weight_row(task.reward), (len(seeds), 1))
        self._engine = VectorEngine(task, len(seeds))
        edges_s = task.window_s * np.arange(task.windows + 1)
        counts = [np.histogram(batch.arrival_s, edges_s)[0] for batch in self._requests]
        self.arrivals: npt.NDArray[np.int64] = np.stack(counts, axis=1)
        self.load_levels: FloatArray = np.array([batch.load_level for batch in self._requests])

    def held(self, row: FloatArray) -> FloatArray:
        """(windows, seeds, 6) float64, one action throughout, as `play` takes it."""
        return np.tile(row, (self.task.windows, len(self.seeds), 1))

    def play(
        self, base: FloatArray, *, policy: Policy | None = None, follows: Collection[str] = ()
    ) -> Play:
        """Play every episode once.

        A policy that moves some knobs sees what is in force in truth, the others included. Its KV
        budget, which it reckons in tokens, is turned into a share of the pool of the tier that is
        asked for, be it the policy's or the schedule's.

        Args:
            base: (windows, seeds, 6), what the knobs do that the policy leaves alone.
            policy: Acts by its likeliest levels; needed if a knob follows it.
            follows: The knobs that follow the policy.
        """
        reader = None if policy is None else ActionReader([self.task] * base.shape[1], policy.menu)
        moves = np.array([knob in follows for knob in KNOBS])
        rows = np.array(base, np.float64)
        rewards, terms = np.empty(rows.shape[:2]), np.empty((*rows.shape[:2], len(TERMS)))
        features = self._engine.reset(self._requests, self._costs)
        for window, row in enumerate(rows):
            if policy is not None and reader is not None:
                seen = np.hstack([features, reader.active])
                levels = policy.levels(seen, reader.masks)
                if not moves[TIER]:
                    levels[:, TIER] = row[:, TIER]
                row[:, moves] = reader.rows(levels, features)[:, moves]
            features = self._engine.step(row, self._weights)
            terms[window] = self._engine.rewards[:, : len(TERMS)]
            rewards[window] = self._engine.rewards[:, -1]
        return Play(rows, rewards, terms)

    def schedule_of(self, agent: Agent) -> FloatArray:
        """(windows, seeds, 6) float64, what an agent does in these episodes."""
        episodes = [play_episode(agent, self.task, seed) for seed in self.seeds]
        schedules = [[action_row(action) for action in episode.actions] for episode in episodes]
        return np.array(schedules).swapaxes(0, 1)
