"""Results over several tasks -> one number per agent, with intervals: what rliable computes.

Agarwal et al. 2021, arXiv:2108.13264: interquartile means, stratified bootstrap (episodes are drawn
anew within each task), probability of improvement, performance profiles. rliable's repository is
archived; a score is a row of a matrix (tasks, episodes), all tasks with as many episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.statistics import (
    BOOTSTRAP_SEED,
    LEVEL,
    RESAMPLES,
    Estimate,
    Values,
    row_interquartile_means,
)
from simulator.rng import stream

# Takes (rows, tasks, episodes) and yields one number a row.
Statistic = Callable[[Values], Values]
ENDS: Final = ((1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0)
# The optimality gap: how much is missing to this score, what is above it not counted.
OPTIMAL: Final = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Which share of the episodes is above each of some thresholds.

    Attributes:
        thresholds: (thresholds,) ascending.
        share: (thresholds,) in [0, 1].
        low: Lower ends of 95 % intervals, each on its own.
        high: Upper ends.
    """

    thresholds: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def interquartile_means(rows: Values) -> Values:
    """The mean of the middle half of all episodes of all tasks."""
    return row_interquartile_means(rows.reshape(rows.shape[0], -1))


def means(rows: Values) -> Values:
    """The mean over tasks and episodes."""
    return np.asarray(rows.mean(axis=(1, 2)))


def medians(rows: Values) -> Values:
    """The median over the tasks of their means."""
    return np.asarray(np.median(rows.mean(axis=2), axis=1))


def optimality_gaps(rows: Values) -> Values:
    """How much is missing to OPTIMAL on average."""
    return np.asarray(OPTIMAL - np.minimum(rows, OPTIMAL).mean(axis=(1, 2)))


AGGREGATES: Final[Mapping[str, Statistic]] = {
    "interquartile_mean": interquartile_means,
    "mean": means,
    "median": medians,
    "optimality_gap": optimality_gaps,
}


def aggregate(scores: Values, statistic: Statistic) -> Estimate:
    """A statistic of all tasks with its 95 % interval by stratified bootstrap.

    Args:
        scores: (tasks, episodes).
        statistic: One of AGGREGATES, or its like.

    Raises:
        ValueError: If there is no score or one is not finite.
    """
    given = _checked(scores)
    picks = _picks(given.shape, "ours")
    drawn = statistic(np.take_along_axis(given[None], picks, axis=2))
    low, high = np.quantile(drawn, ENDS)
    return Estimate(float(statistic(given[None])[0]), float(low), float(high))


def probability_of_improvement(ours: Values, theirs: Values) -> Estimate:
    """How likely an episode of ours is better than one of theirs of the same task; ties are half.

    The episodes are not paired, as in rliable.

    Args:
        ours: (tasks, episodes).
        theirs: (tasks, episodes) of the same tasks.

    Raises:
        ValueError: As `aggregate`, or if there are not as many tasks.
    """
    first, second = _checked(ours), _checked(theirs)
    if first.shape[0] != second.shape[0]:
        raise ValueError(f"need the same tasks, got {first.shape[0]} and {second.shape[0]}")
    differences = first[:, :, None] - second[:, None, :]
    better = (differences > 0.0) + 0.5 * (differences == 0.0)
    ours_drawn, theirs_drawn = _weights(first.shape, "ours"), _weights(second.shape, "theirs")
    per_task = [
        ((ours_drawn[:, task] @ better[task]) * theirs_drawn[:, task]).sum(axis=1)
        for task in range(first.shape[0])
    ]
    low, high = np.quantile(np.mean(per_task, axis=0), ENDS)
    return Estimate(float(better.mean()), float(low), float(high))


def share_of_wins(ours: Values, theirs: Values) -> Estimate:
    """On which share of the same traffic ours is better; ties are half.

    Raises:
        ValueError: As `aggregate`, or if they are not paired.
    """
    first, second = _checked(ours), _checked(theirs)
    if first.shape != second.shape:
        raise ValueError(f"pairs need two scores each, got {first.shape} and {second.shape}")
    return aggregate((first > second) + 0.5 * (first == second), means)


def profile(scores: Values, thresholds: Values) -> Profile:
    """The share of episodes above each threshold, with pointwise 95 % intervals.

    Args:
        scores: (tasks, episodes).
        thresholds: Ascending.

    Raises:
        ValueError: As `aggregate`.
    """
    given = _checked(scores)
    above = (given[:, :, None] > thresholds).astype(np.float64)
    weights = _weights(given.shape, "ours")
    drawn = np.mean([weights[:, task] @ above[task] for task in range(given.shape[0])], axis=0)
    low, high = np.quantile(drawn, ENDS, axis=0)
    return Profile(*(tuple(line.tolist()) for line in (thresholds, above.mean((0, 1)), low, high)))


@lru_cache(maxsize=8)
def _picks(shape: tuple[int, ...], whose: str) -> npt.NDArray[np.int64]:
    # The same draws for all agents: their intervals then move together.
    generator = stream(BOOTSTRAP_SEED, f"stratified, {whose}")
    return generator.integers(shape[1], size=(RESAMPLES, *shape))


@lru_cache(maxsize=8)
def _weights(shape: tuple[int, ...], whose: str) -> Values:
    """How much every episode counts in every resample: (resamples, tasks, episodes), sums 1."""
    picks = _picks(shape, whose)
    counts = np.zeros((RESAMPLES, *shape))
    rows = np.arange(RESAMPLES)[:, None]
    for task in range(shape[0]):
        np.add.at(counts[:, task], (rows, picks[:, task]), 1.0)
    return counts / shape[1]


def _checked(scores: Values) -> Values:
    given = np.asarray(scores, dtype=np.float64)
    if given.ndim != 2 or given.size == 0 or not np.isfinite(given).all():
        raise ValueError(f"need finite scores (tasks, episodes), got shape {given.shape}")
    return given
