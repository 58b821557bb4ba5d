"""From the rewards of a replay to a raw score, and from a raw score to the scale of the grade.

Sums are exact before they are rounded once (math.fsum), so that no order of windows matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from grader.references import TaskReference
from grader.replay import Replay
from llmserve_env.tasks import TaskSpec
from simulator.outcome import GAIN_TERMS, PENALTY_TERMS

BEST_CONSTANT_SCORE: Final = 0.5
# A clipped score never touches an end: 0 is kept for episodes in which nothing was played.
LOWEST_SCORE: Final = 0.001
HIGHEST_SCORE: Final = 0.999


@dataclass(frozen=True, slots=True)
class Tally:
    """What an episode amounts to over the whole horizon of its task.

    Attributes:
        raw_score: Mean reward of a window under the task's own weights, in [-1, 1].
        means: Mean of each term of the reward, in [0, 1].
        contributions: What each term adds to the raw score.
    """

    raw_score: float
    means: dict[str, float]
    contributions: dict[str, float]


def tally(task: TaskSpec, played: Replay) -> Tally:
    """The raw score and its terms; windows that were not played gain nothing and miss all."""
    spec = task.reward
    missing = task.windows - len(played.rewards)
    lowest_reward = -(spec.violation + spec.preemption + spec.drop)

    def mean(column: str, of_missing: float) -> float:
        return math.fsum(played.rewards[column].tolist() + [of_missing] * missing) / task.windows

    means = {term: mean(term, 0.0) for term in GAIN_TERMS}
    means |= {term: mean(term, 1.0) for term in PENALTY_TERMS}
    contributions = {
        term: getattr(spec, term) * means[term] / spec.gain_weight for term in GAIN_TERMS
    }
    contributions |= {term: 0.0 - getattr(spec, term) * means[term] for term in PENALTY_TERMS}
    return Tally(mean("reward", lowest_reward), means, contributions)


def score_unclipped(raw_score: float, best_constant: float, reference: TaskReference) -> float:
    """The place of a raw score on the scale: 0 random, 0.5 best constant, 1 clairvoyant.

    For a set of episodes give the means of both raw scores: the score is a ratio of means.

    Args:
        raw_score: What was earned.
        best_constant: What the best constant setting earns on the same traffic.
        reference: How far the other anchors lie from it.
    """
    gap = reference.gap_above if raw_score >= best_constant else reference.gap_below
    return BEST_CONSTANT_SCORE + BEST_CONSTANT_SCORE * (raw_score - best_constant) / gap


def clipped(score: float) -> float:
    """The score as it is reported, from 0.001 to 0.999."""
    return min(max(score, LOWEST_SCORE), HIGHEST_SCORE)
