"""Whether a policy's actions follow what it sees, and what it gains by that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agents.ppo.actions import ActionReader, Features, FloatArray, Levels
from agents.ppo.fleet import Lanes, Seeds
from agents.ppo.policy import Policy
from agents.statistics import Difference, paired_difference
from llmserve_env.models import KNOBS
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec

EPISODES: Final = 64


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How far a policy moves on a task.

    The KV head's level is an entry of the recipe's menu, so that the budget itself follows the
    load even where the level never moves.

    Attributes:
        shares: By knob that the task moves: share of windows at the commonest level; 1.0 for every
            knob is a policy that does not look.
        gain: Raw score less that of the same policy frozen at its commonest levels, seed by seed.
    """

    shares: dict[str, float]
    gain: Difference


def behaviour(policy: Policy, task: TaskSpec, episodes: int = EPISODES) -> Behaviour:
    """What the policy does on the task's first validation seeds.

    Args:
        policy: Acts by its likeliest levels, as it does when evaluated.
        task: What is played.
        episodes: How many; at least 2.
    """
    reader = ActionReader([task] * episodes, policy.menu)
    seeds = split_seeds("validation", episodes)

    def look(features: Features) -> Levels:
        return policy.levels(np.hstack([features, reader.active]), reader.masks)

    scores, levels = _play(task, seeds, reader, look)
    commonest = np.array([np.bincount(column).argmax() for column in levels.T])
    still, _ = _play(task, seeds, reader, lambda _: np.tile(commonest, (episodes, 1)))
    same = (levels == commonest).mean(axis=0)
    moving = zip(KNOBS, same, reader.active[0], strict=True)
    return Behaviour(
        shares={knob: float(share) for knob, share, moves in moving if moves},
        gain=paired_difference(scores, still),
    )


def _play(
    task: TaskSpec,
    seeds: Sequence[int],
    reader: ActionReader,
    choose: Callable[[Features], Levels],
) -> tuple[FloatArray, Levels]:
    """(seeds,) raw scores, and (windows x seeds, HEADS) levels that were chosen."""
    lanes, chosen = Lanes(task, [Seeds(seed, seed) for seed in seeds]), list[Levels]()
    total: FloatArray = np.zeros(len(seeds))
    for _ in range(task.windows):
        features = lanes.features
        chosen.append(choose(features))
        total += lanes.step(reader.rows(chosen[-1], features))
    lanes.close()
    return total / task.windows, np.concatenate(chosen)
