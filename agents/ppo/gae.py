"""Advantages by generalised advantage estimation, and the baseline of an arrival trace."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def advantages(
    rewards: FloatArray,
    values: FloatArray,
    next_values: FloatArray,
    ended: npt.NDArray[np.bool_],
    *,
    gamma: float,
    gae_lambda: float,
) -> FloatArray:
    """(windows, envs) float64, how much better than its value every window went.

    An episode ends by its horizon alone, and the deployment would go on: so the value of the last
    observation counts as that of any other, and only the sum over later windows stops there.

    Args:
        rewards: (windows, envs).
        values: (windows, envs), of the observations that were acted on.
        next_values: (windows, envs), of what was seen after the window, before any reset.
        ended: (windows, envs), whether the window was an episode's last.
        gamma: What a reward is worth a window later.
        gae_lambda: 0 trusts the values, 1 the rewards.

    Source: Schulman et al. 2016, arXiv:1506.02438, equation 16; Pardo et al. 2018,
    arXiv:1712.00378, for the horizon.
    """
    errors = rewards + gamma * next_values - values
    found = np.empty_like(errors)
    later = np.zeros(errors.shape[1])
    for window in reversed(range(len(errors))):
        later = errors[window] + gamma * gae_lambda * np.where(ended[window], 0.0, later)
        found[window] = later
    return found


def centred_by_trace(found: FloatArray, replicas: int) -> FloatArray:
    """(windows, envs), advantages less their mean over the replicas of a trace in that window.

    What the traffic brought is the same for all replicas; what is left is what the actions did.

    Args:
        found: (windows, envs), the replicas of a trace side by side.
        replicas: How many each trace has; 1 leaves everything as it is.

    Source: Mao et al. 2019, arXiv:1807.02264.
    """
    if replicas == 1:
        return found
    windows, envs = found.shape
    grouped = found.reshape(windows, envs // replicas, replicas)
    centred: FloatArray = grouped - grouped.mean(axis=2, keepdims=True)
    return centred.reshape(windows, envs)
