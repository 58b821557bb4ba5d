"""Measures a window that was entered into the engine's arrays, with the simulator's own code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmserve_env.tasks import TaskSpec
from simulator.deployment import Deployment, StepCosts
from simulator.engine import SimulatedEngine
from simulator.jit import compiled
from simulator.kernel_metrics import measure_window
from simulator.kernel_reward import reward_window
from simulator.outcome import REWARD
from simulator.state import (
    Lane,
    Records,
    State,
    Tables,
    copy_state,
)
from simulator.workload import task_requests


@compiled
def measure_entered_window(
    state: State,
    fleet: Records,
    terms: Records,
    tables: Tables,
    weights: npt.NDArray[np.float64],
    window_s: float,
) -> None:
    """Fill `state.metrics` and `state.rewards` of environment 0; see kernel.step_windows."""
    lane = Lane(
        state.environments[0],
        state.windows[0],
        state.replicas[0],
        state.requests[0],
        state.slots[0],
        state.queues[0],
        state.orders[0],
        state.samples[0],
        state.tallies[0],
        state.scratch[0],
        state.counts[0],
        fleet[0],
        tables,
    )
    measure_window(lane, terms[0], state.ledger[0], state.metrics[0], window_s)
    reward_window(state.metrics[0], weights[0], state.rewards[0])


def compile_ahead(task: TaskSpec) -> None:
    """Compile it when a server starts: the first time takes up to a minute."""
    engine = SimulatedEngine(task)
    engine.reset(0, task_requests(task, 0), StepCosts())
    compile_measure(engine.state, engine.deployment)


def compile_measure(state: State, deployment: Deployment) -> None:
    """Compile it ahead of its first use, which is on an event loop that must not stand still.

    Args:
        state: Of an episode that was just reset; left as it is.
        deployment: Of its engine.
    """
    weights = np.ones((1, len(REWARD.names or ()) - 1))
    measure_entered_window(
        copy_state(state), deployment.fleet, deployment.terms, deployment.tables, weights, 1.0
    )
