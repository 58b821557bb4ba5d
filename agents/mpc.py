"""The model-predictive planner: knows what it saw, and plans on forecasts of what may come.

Before every other window it plays every candidate action ahead on several twins of the deployment
(agents/twin.py), each with its own guess of what runs and its own forecast, and takes the one with
the best mean return. The candidates are the moves next to the action in force, held for a few
windows before the plan falls back to the best constant. A twin is never quite right about the KV in
use; by how much it errs is added to the budget that it is asked about (offset-free MPC: Pannocchia
and Rawlings 2003).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from agents.base import Agent
from agents.knobs import kv_in_use
from agents.planning import FloatArray, Futures, Moves
from agents.simple import BestConstantAgent, ConstantAgent
from agents.twin import Twin
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.engine import action_row
from simulator.state import ACTION_KV_BUDGET

HORIZON: Final = 12
HOLD: Final = 6
EVERY: Final = 2  # windows between plans
TWINS: Final = 4
WIDTH: Final = 48
LEAST_KV: Final = 0.01  # of what a twin may be asked about once its error is taken off


class MpcAgent:
    """Plans anew every other window."""

    def __init__(self, base: ServeAction | None = None) -> None:
        """Fall back to this action, or to the best constant of the task."""
        self._given = base

    def reset(self, task: TaskSpec, seed: int) -> None:
        """Build twins of the deployment; the plan starts at the best constant."""
        self._base: Agent = (
            BestConstantAgent() if self._given is None else ConstantAgent(self._given)
        )
        self._base.reset(task, seed)
        self._twins, self._moves = [Twin(task, seed, index) for index in range(TWINS)], Moves(task)
        self._futures = Futures(task, self._twins[0].capacity, WIDTH)
        self._action: ServeAction | None = None

    def act(self, observation: ServeObservation) -> ServeAction:
        """The candidate with the best mean return."""
        base = self._base.act(observation)
        if self._action is None:
            self._action = base
            return base
        for twin in self._twins:
            twin.follow(observation, self._action)
        if observation.step_index % EVERY:
            return self._action
        row, fallback = action_row(self._action), action_row(base)
        candidates = [row, fallback, *self._moves.hot(row), *self._moves.warm(row)]
        schedules = np.tile(fallback, (len(candidates), HORIZON, 1))
        schedules[:, :HOLD] = np.array(candidates)[:, None, :]
        returns = [self._returns(twin, schedules, observation) for twin in self._twins]
        best = int(np.mean(returns, axis=0).argmax())
        self._action = self._moves.action(candidates[best])
        return self._action

    def _returns(
        self, twin: Twin, schedules: FloatArray, observation: ServeObservation
    ) -> FloatArray:
        """(candidates,), on one twin's guess."""
        asked = schedules.copy()
        asked[..., ACTION_KV_BUDGET] -= kv_in_use(observation) - twin.kv_used_fraction
        np.clip(asked[..., ACTION_KV_BUDGET], LEAST_KV, 1.0, out=asked[..., ACTION_KV_BUDGET])
        return self._futures.returns(twin.forecast(HORIZON), asked)
