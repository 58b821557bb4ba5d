"""Where a policy's gain comes from, knob by knob, and where the planner still has more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from agents.ppo.actions import TIER, FloatArray
from agents.ppo.policy import Policy
from agents.statistics import paired_difference
from llmserve_env.models import KNOBS, TIERS
from llmserve_env.tasks import RewardSpec, TaskSpec
from scripts.policy_plays import Course, Play
from scripts.true_regimes import Cut
from simulator.outcome import GAIN_TERMS
from simulator.reward import TERMS, weight_row

CONSTANT: Final = "best_constant"
REACTIVE: Final = "reactive"
PLANNER: Final = "clairvoyant"

Difference = dict[str, float | None]


def moving_knobs(task: TaskSpec) -> tuple[str, ...]:
    """The knobs that the task moves, in the order of KNOBS."""
    return tuple(knob for knob in KNOBS if knob in task.active_actions)


def ablation(course: Course, policy: Policy, constant: FloatArray) -> dict[str, Any]:
    """What every knob is worth, the others moving and the others still; raw scores paired by seed.

    Args:
        course: At least one episode.
        policy: Whose knobs are frozen.
        constant: (6,), the best constant action: what a frozen knob is held at.

    Returns:
        `gain`: policy less best constant; by knob `frozen`: the policy with this knob held, less
        the policy; `alone`: the best constant with this knob given to the policy, less itself.
    """
    base, knobs = course.held(constant), moving_knobs(course.task)
    still = course.play(base)
    whole = course.play(base, policy=policy, follows=knobs)

    def between(ours: Play, theirs: Play) -> Difference:
        return asdict(paired_difference(ours.scores, theirs.scores))

    found: dict[str, dict[str, Difference]] = {}
    for knob in knobs:
        others = [other for other in knobs if other != knob]
        frozen = course.play(base, policy=policy, follows=others)
        alone = course.play(base, policy=policy, follows=[knob])
        found[knob] = {"frozen": between(frozen, whole), "alone": between(alone, still)}
    return {"gain": between(whole, still), "knobs": found}


def exchange(course: Course, policy: Policy, plan: FloatArray) -> dict[str, dict[str, list[float]]]:
    """What a single knob of a plan is worth to the policy, and a policy's to the plan, by knob.

    Args:
        course: At least one episode.
        policy: Sees what is in force, the plan's knob included.
        plan: (windows, seeds, 6).

    Returns:
        By knob, seed by seed in raw score: `borrowed`: the policy with this knob of the plan, less
        the policy; `lent`: the plan with this knob given to the policy, less the plan.
    """
    knobs = moving_knobs(course.task)
    whole = course.play(plan, policy=policy, follows=knobs).scores
    planned = course.play(plan).scores
    found = {}
    for knob in knobs:
        others = [other for other in knobs if other != knob]
        borrowed = course.play(plan, policy=policy, follows=others).scores - whole
        lent = course.play(plan, policy=policy, follows=[knob]).scores - planned
        found[knob] = {"borrowed": borrowed.tolist(), "lent": lent.tolist()}
    return found


def by_kind(
    cut: Cut, plays: Mapping[str, Play], reward: RewardSpec, policies: Sequence[str]
) -> dict[str, Any]:
    """Rewards, gaps to the planner and use of the knobs, in every kind of window of a cut.

    Args:
        cut: Divides the windows.
        plays: By agent, on the same episodes; the planner among them.
        reward: The task's weights.
        policies: Agents whose gap to the planner is split.

    Returns:
        Lists in the order of the cut's names: `shares` of the windows; `rewards` by agent, mean of
        the kind's windows; `adds` by policy and term, what the kind adds to the planner's raw score
        less the policy's: all entries together make up this gap; `knobs` by agent, see `knob_use`.
        Kinds that never occur are left out.
    """
    kinds = [index for index in range(len(cut.names)) if (cut.labels == index).any()]
    inside = [cut.labels == index for index in kinds]
    planner = _worth(plays[PLANNER], reward)
    return {
        "title": cut.title,
        "names": [cut.names[index] for index in kinds],
        "shares": [float(chosen.mean()) for chosen in inside],
        "rewards": {
            name: [float(play.rewards[chosen].mean()) for chosen in inside]
            for name, play in plays.items()
        },
        "adds": {
            name: [
                _by_term((planner - _worth(plays[name], reward))[chosen].sum(axis=0), cut, reward)
                for chosen in inside
            ]
            for name in policies
        },
        "knobs": {
            name: [knob_use(play.rows[chosen]) for chosen in inside] for name, play in plays.items()
        },
    }


def knob_use(rows: FloatArray) -> dict[str, Any]:
    """What the knobs do in some windows: mean values; of the tier, the share of windows in each.

    Args:
        rows: (windows, 6).
    """
    use: dict[str, Any] = {
        knob: float(rows[:, index].mean()) for index, knob in enumerate(KNOBS) if index != TIER
    }
    shares = {tier: float((rows[:, TIER] == index).mean()) for index, tier in enumerate(TIERS)}
    return use | {KNOBS[TIER]: shares}


def term_gains(ours: Play, theirs: Play, reward: RewardSpec) -> dict[str, float]:
    """By term that the task weighs, what it adds to our mean raw score less theirs."""
    worth = _worth(ours, reward) - _worth(theirs, reward)
    means = worth.reshape(-1, len(TERMS)).mean(axis=0)
    weights = weight_row(reward)
    return {
        term: float(value) for term, value, w in zip(TERMS, means, weights, strict=True) if w > 0
    }


def _worth(play: Play, reward: RewardSpec) -> FloatArray:
    """(windows, seeds, 9) float64, what every term adds to the reward of a window."""
    weights = weight_row(reward)
    gains = len(GAIN_TERMS)
    factors = np.concatenate([weights[:gains] / reward.gain_weight, -weights[gains:]])
    return np.asarray(play.terms * factors)


def _by_term(sums: FloatArray, cut: Cut, reward: RewardSpec) -> dict[str, float]:
    weights = weight_row(reward)
    return {
        term: float(value) / cut.labels.size
        for term, value, w in zip(TERMS, sums, weights, strict=True)
        if w > 0
    }
