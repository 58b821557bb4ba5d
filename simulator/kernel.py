"""The compiled engine: windows of continuous batching for one or many environments, on arrays.

`simulator/reference.py` says the same in plain Python, step by step; tests hold the two equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.jit import compiled
from simulator.kernel_metrics import measure_window
from simulator.kernel_reward import reward_window
from simulator.kernel_window import play_window
from simulator.state import Lane, Records, State, Tables


@compiled
def step_windows(
    state: State,
    fleet: Records,
    terms: Records,
    tables: Tables,
    actions: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    window_s: float,
) -> None:
    """Advance every environment by one window and measure it.

    Args:
        state: Changed in place; `state.metrics` and `state.rewards` hold the result.
        fleet: (1,) FLEET, the same for all environments.
        terms: (1,) TERMS, the same for all environments.
        tables: Measured GPU times.
        actions: (envs, 6) in the order of the ACTION_* columns.
        weights: (envs, 9) weights of the reward's terms in the order of REWARD.
        window_s: Length of a window.
    """
    for e in range(actions.shape[0]):
        lane = Lane(
            state.environments[e],
            state.windows[e],
            state.replicas[e],
            state.requests[e],
            state.slots[e],
            state.queues[e],
            state.orders[e],
            state.samples[e],
            state.tallies[e],
            state.scratch[0],
            state.counts[0],
            fleet[0],
            tables,
        )
        play_window(lane, actions[e], window_s)
        measure_window(lane, terms[0], state.ledger[e], state.metrics[e], window_s)
        reward_window(state.metrics[e], weights[e], state.rewards[e])
