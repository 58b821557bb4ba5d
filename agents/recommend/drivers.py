"""Policies that act in several episodes at once: rules tuned here, and agents of the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import numpy as np
from pydantic import Field

from agents.base import Agent
from agents.kv_rule import levels_of
from agents.kv_rule_parameters import KvRuleParameters
from agents.ppo.actions import KV, ActionReader
from agents.recommend.stage import FloatArray, Scene
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from llmserve_env.workloads import NonNegative, Spec
from simulator.engine import action_row

# Weight of the newest second in the smoothed rate: it looks back over about ten.
RATE_WEIGHT: Final = 0.1


class RateSchedule(Spec):
    """A setting per level of the arrival rate; warm knobs are the same in all.

    Attributes:
        edges_rps: Rates between the levels, rising; one fewer than settings.
        settings: From the quietest level to the busiest.
    """

    edges_rps: tuple[NonNegative, ...]
    settings: Annotated[tuple[ServeAction, ...], Field(min_length=1)]

    def level(self, rate_rps: float) -> int:
        """The level of a smoothed rate."""
        return int(np.searchsorted(self.edges_rps, rate_rps, side="right"))


class RateScheduleAgent:
    """Does what a schedule says for the smoothed arrival rate."""

    def __init__(self, schedule: RateSchedule) -> None:
        """Take the schedule."""
        self._schedule = schedule

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Forget the rate."""
        self._rate_rps = -1.0

    def act(self, observation: ServeObservation) -> ServeAction:
        """The setting of the level."""
        self._rate_rps = float(smoothed(self._rate_rps, observation.request_arrival_rate))
        return self._schedule.settings[self._schedule.level(self._rate_rps)]


def smoothed(known: FloatArray | float, new: FloatArray | float) -> FloatArray:
    """The rate after another second; what is below 0 is not known yet."""
    moved = np.asarray(known) + RATE_WEIGHT * (np.asarray(new) - known)
    return np.where(np.asarray(known) < 0.0, new, moved)


class ScheduleDriver:
    """RateScheduleAgent in several episodes."""

    def __init__(self, schedule: RateSchedule) -> None:
        """Take the schedule."""
        self._schedule = schedule
        self._rows = np.array([action_row(setting) for setting in schedule.settings])

    def start(self, task: TaskSpec, episodes: int) -> None:  # noqa: ARG002
        """Forget the rates."""
        self._rates = np.full(episodes, -1.0)

    def rows(self, scene: Scene, window: int) -> FloatArray:  # noqa: ARG002
        """The rows of the levels."""
        self._rates = smoothed(self._rates, scene.state.metrics["arrival_rps"])
        levels = np.searchsorted(self._schedule.edges_rps, self._rates, side="right")
        return np.ascontiguousarray(self._rows[levels])


class KvRuleDriver:
    """KvRuleAgent in several episodes."""

    def __init__(self, rule: KvRuleParameters) -> None:
        """Take the rule."""
        self._rule = rule

    def start(self, task: TaskSpec, episodes: int) -> None:
        """Read the rule for this deployment."""
        self._reader = ActionReader([task] * episodes, self._rule.menu)
        self._levels = np.repeat(levels_of(self._rule.others), episodes, axis=0)
        self._held = np.tile(action_row(self._rule.others), (episodes, 1))

    def rows(self, scene: Scene, window: int) -> FloatArray:  # noqa: ARG002
        """The setting, with the budgets of this window."""
        rows = self._held.copy()
        rows[:, KV] = self._reader.rows(self._levels, scene.features())[:, KV]
        return rows


class AgentDriver:
    """An agent of its own for every episode."""

    def __init__(self, make: Callable[[], Agent]) -> None:
        """Take what makes one."""
        self._make = make

    def start(self, task: TaskSpec, episodes: int) -> None:
        """Make them; each starts from the task's default action."""
        self._agents: Sequence[Agent] = [self._make() for _ in range(episodes)]
        for seed, agent in enumerate(self._agents):
            agent.reset(task, seed)
        self._task = task
        self._configs = [task.default_action] * episodes

    def rows(self, scene: Scene, window: int) -> FloatArray:
        """What they do; an action that the task does not allow is an error."""
        for index, agent in enumerate(self._agents):
            seen = scene.observation(index, window, self._configs[index])
            action = agent.act(seen)
            if action is not self._configs[index]:
                self._task.check_action(action)
            self._configs[index] = action
        return np.array([action_row(action) for action in self._configs])
