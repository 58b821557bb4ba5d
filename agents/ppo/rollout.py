"""Plays the training episodes under the policy and keeps what an update learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.ppo.actions import ActionReader, FloatArray
from agents.ppo.fleet import Fleet
from agents.ppo.network import Networks, joint_log_probability, sampled


@dataclass(frozen=True, slots=True)
class Rollout:
    """Some windows of all environments.

    Attributes:
        inputs: (windows, envs, inputs) float32, what the policy saw.
        in_force: (windows, envs, HEADS) int64, levels in force before the action.
        levels: (windows, envs, HEADS) int64, the action.
        log_probabilities: (windows, envs) float32, of exactly this action when it was chosen.
        rewards: (windows, envs) float64, as the environment gives them.
        values: (windows, envs) float64, of what the policy saw.
        next_values: (windows, envs) float64, of what was seen after the window, before any reset.
        ended: (windows, envs) bool, whether the window was an episode's last.
    """

    inputs: Tensor
    in_force: Tensor
    levels: Tensor
    log_probabilities: Tensor
    rewards: FloatArray
    values: FloatArray
    next_values: FloatArray
    ended: npt.NDArray[np.bool_]


@torch.no_grad()
def collect(
    fleet: Fleet,
    reader: ActionReader,
    networks: Networks,
    *,
    windows: int,
    generator: torch.Generator,
) -> Rollout:
    """Play so many windows, every action drawn from the policy.

    Args:
        fleet: The episodes; they go on where they were left.
        reader: Of the fleet's tasks.
        networks: Policy and value.
        windows: How many.
        generator: Whence the actions are drawn.
    """
    masks = torch.from_numpy(reader.masks)
    inputs, in_force, levels, chances, moments = [], [], [], [], []
    for _ in range(windows):
        seen = torch.from_numpy(np.hstack([fleet.features, reader.active]))
        held = torch.from_numpy(reader.in_force(fleet.features))
        logs = networks.log_probabilities(seen, held, masks)
        chosen = sampled(logs, generator)
        moments.append(fleet.step(reader.rows(chosen.numpy(), fleet.features)))
        inputs.append(seen)
        in_force.append(held)
        levels.append(chosen)
        chances.append(joint_log_probability(logs, chosen))
    stacked = torch.stack(inputs)
    values = _values(networks, stacked)
    ended = np.stack([moment.ended for moment in moments])
    # What was seen after a window is what is acted on in the next, but where an episode ended.
    next_values = np.empty_like(values)
    next_values[:-1] = values[1:]
    for window, moment in enumerate(moments):
        if window == windows - 1 or moment.ended.any():
            after = torch.from_numpy(np.hstack([moment.seen, reader.active]))
            rows = np.ones_like(moment.ended) if window == windows - 1 else moment.ended
            next_values[window, rows] = _values(networks, after[None])[0, rows]
    return Rollout(
        inputs=stacked,
        in_force=torch.stack(in_force),
        levels=torch.stack(levels),
        log_probabilities=torch.stack(chances),
        rewards=np.stack([moment.rewards for moment in moments]),
        values=values,
        next_values=next_values,
        ended=ended,
    )


def _values(networks: Networks, inputs: Tensor) -> FloatArray:
    windows, envs, width = inputs.shape
    flat: FloatArray = networks.values(inputs.reshape(windows * envs, width)).double().numpy()
    return flat.reshape(windows, envs)
