"""The simulated engine: owns the state arrays of one or many environments and steps them."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt

from llmserve_env.models import TIERS, ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.deployment import Deployment, StepCosts, build_deployment
from simulator.kernel import step_windows
from simulator.records import FloatArray, RequestBatch
from simulator.state import (
    ENVIRONMENT,
    NEVER,
    NOBODY,
    QUEUE_OVERDUE,
    REPLICA,
    WINDOW,
    Record,
    Records,
    State,
    allocate,
    copy_state,
)

UNSTARTED_TIMES = ("admitted_s", "first_token_s", "finish_s", "last_token_s")
GIVEN_COLUMNS = (
    "arrival_s",
    "prompt_tokens",
    "output_tokens",
    "priority_class",
    "acceptance_first",
    "acceptance_ratio",
)


def action_row(action: ServeAction) -> FloatArray:
    """The action as the compiled engine reads it: (6,) float64 in the order of ACTION_*."""
    return np.array(
        [
            action.batch_cap,
            action.kv_budget_fraction,
            action.speculation_depth,
            TIERS.index(action.quantization_tier),
            action.prefill_decode_split,
            action.priority_routing,
        ],
        np.float64,
    )


def enter_requests(table: Records, requests: RequestBatch) -> None:
    """Write requests that nothing has happened to yet into as many rows of a REQUEST table."""
    table.view(np.uint8).fill(0)  # a record at a time takes twenty times as long
    for column in UNSTARTED_TIMES:
        table[column] = math.nan
    for column in GIVEN_COLUMNS:
        table[column] = getattr(requests, column)


class SimulatedEngine:
    """Continuous batching of one task for `environments` independent episodes at once."""

    def __init__(self, task: TaskSpec, environments: int = 1) -> None:
        """Allocate the state; every environment must be reset before it is stepped."""
        self.task = task
        self.deployment: Deployment = build_deployment(task)
        self.state: State = allocate(environments, 0)

    def reset(self, environment: int, requests: RequestBatch, costs: StepCosts) -> None:
        """Start a new episode in one environment: an empty engine in the default configuration."""
        self._make_room(len(requests))
        state = self.state
        for array in (state.slots, state.orders, state.tallies, state.ledger):
            array[environment] = 0
        state.windows[environment] = np.zeros((), WINDOW)
        state.queues[environment] = NOBODY
        state.queues[environment, ..., QUEUE_OVERDUE:] = 0
        idle = np.zeros((), REPLICA)
        idle["free_at_s"], idle["soonest_finish"] = math.inf, NEVER
        state.replicas[environment] = idle
        state.environments[environment] = self._fresh_environment(len(requests), costs)
        enter_requests(state.requests[environment, : len(requests)], requests)

    def step(self, actions: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> None:
        """Play one window in every environment; `state.metrics` and `state.rewards` hold it.

        Args:
            actions: (envs, 6), see action_row.
            weights: (envs, 9), see reward.weight_row.
        """
        deployment = self.deployment
        step_windows(
            self.state,
            deployment.fleet,
            deployment.terms,
            deployment.tables,
            actions,
            weights,
            self.task.window_s,
        )

    def clone(self) -> Self:
        """An independent copy; a copy of the state arrays and nothing else."""
        twin = object.__new__(type(self))
        twin.task, twin.deployment = self.task, self.deployment
        twin.state = copy_state(self.state)
        return twin

    def _make_room(self, requests: int) -> None:
        """Grow the request tables of all environments if one episode needs more."""
        environments, capacity = self.state.requests.shape
        if requests <= capacity:
            return
        grown = allocate(environments, requests + requests // 8)
        for old, new in zip(self.state, grown, strict=True):
            new[tuple(slice(0, size) for size in old.shape)] = old
        self.state = grown

    def _fresh_environment(self, requests: int, costs: StepCosts) -> Record:
        default = self.task.default_action
        fresh = np.zeros(1, ENVIRONMENT)[0]
        fresh["requests"] = requests
        fresh["batch_cap"] = default.batch_cap
        fresh["kv_budget_fraction"] = default.kv_budget_fraction
        fresh["speculation_depth"] = default.speculation_depth
        fresh["tier"] = TIERS.index(default.quantization_tier)
        fresh["split"] = default.prefill_decode_split
        fresh["priority"] = default.priority_routing
        fresh["linear_scale"] = costs.linear
        fresh["attention_scale"] = costs.attention
        fresh["host_scale"] = costs.host
        fresh["handoff_head"] = fresh["handoff_tail"] = fresh["handoff_moving"] = NOBODY
        return fresh
