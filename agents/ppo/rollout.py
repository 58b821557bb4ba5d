"""Plays the training episodes under the policy and keeps what an update learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.ppo.actions import ActionReader, FloatArray
from agents.ppo.fleet import Fleet
from agents.ppo.network import Heads, Networks, joint_log_probability


@dataclass(frozen=True, slots=True)
class Rollout:
    """Some windows of all environments.

    Attributes:
        heads: Of the environments.
        inputs: (windows, envs, inputs) float32, what the policy saw.
        offsets: (windows, envs, lines) float32, see Heads.offsets.
        lines: (windows, envs, HEADS) int64, the action.
        log_probabilities: (windows, envs) float32, of exactly this action when it was chosen.
        rewards: (windows, envs) float64, as the environment gives them.
        values: (windows, envs) float64, of what the policy saw.
        next_values: (windows, envs) float64, of what was seen after the window, before any reset.
        ended: (windows, envs) bool, whether the window was an episode's last.
    """

    heads: Heads
    inputs: Tensor
    offsets: Tensor
    lines: Tensor
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
    envs = len(fleet.features)
    heads = Heads(torch.from_numpy(reader.masks))
    noise = heads.noise(windows, envs, generator)
    inputs, offsets, logits, lines, moments = [], [], [], [], []
    for window in range(windows):
        inputs.append(torch.from_numpy(np.hstack([fleet.features, reader.active])))
        held = torch.from_numpy(reader.in_force(fleet.features))
        offsets.append(heads.offsets(held, networks.keep))
        logits.append(networks.logits(inputs[-1], offsets[-1], heads))
        lines.append(heads.drawn(logits[-1], noise[window]))
        levels = heads.levels(lines[-1]).numpy()
        moments.append(fleet.step(reader.rows(levels, fleet.features)))
    # What need not be known in between is computed for all windows at once.
    logs = heads.log_probabilities(torch.cat(logits, dim=1))
    chances = joint_log_probability(logs, torch.cat(lines))
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
        heads=heads,
        inputs=stacked,
        offsets=torch.stack(offsets).transpose(1, 2).contiguous(),
        lines=torch.stack(lines),
        log_probabilities=chances.view(windows, envs),
        rewards=np.stack([moment.rewards for moment in moments]),
        values=values,
        next_values=next_values,
        ended=ended,
    )


def _values(networks: Networks, inputs: Tensor) -> FloatArray:
    windows, envs, width = inputs.shape
    flat: FloatArray = networks.values(inputs.reshape(windows * envs, width)).double().numpy()
    return flat.reshape(windows, envs)
