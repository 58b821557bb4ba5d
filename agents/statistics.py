"""Turns the results of seeds into means, intervals and paired differences.

Bootstrap: percentile intervals over resampled seeds, from a seeded stream of its own, so that the
same values give the same interval in every process. rliable's repository is archived; these few
lines replace what is used of it (Agarwal et al. 2021, arXiv:2108.13264).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from simulator.rng import stream

Values = npt.NDArray[np.float64]

RESAMPLES: Final = 4_000
LEVEL: Final = 0.95
BOOTSTRAP_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of some values and where its 95 % bootstrap interval begins and ends."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of differences paired by seed.

    Attributes:
        value: Mean difference.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        standard_error: Of the mean; None with a single pair, which cannot tell.
    """

    value: float
    low: float
    high: float
    standard_error: float | None

    @property
    def standard_errors(self) -> float | None:
        """How many standard errors the mean lies from 0, signed; None where they cannot tell."""
        return self.value / self.standard_error if self.standard_error else None


def row_means(values: Values) -> Values:
    """The mean of every row."""
    return np.asarray(values.mean(axis=-1))


def row_interquartile_means(values: Values) -> Values:
    """The mean of the middle half of every row: a quarter of the values is cut at each end.

    Where the quarter is no whole number, the values at its edges count in part, so that no value
    is lost at once when a row grows by one.
    """
    ordered = np.sort(values, axis=-1)
    count = ordered.shape[-1]
    edges = np.arange(count + 1) / count
    weights = np.diff(np.clip(edges, 0.25, 0.75)) * 2.0
    return np.asarray(ordered @ weights)


def mean(values: Sequence[float] | Values) -> Estimate:
    """The mean with its interval.

    Raises:
        ValueError: If there are no values, or one is not finite.
    """
    return bootstrap(values, row_means)


def interquartile_mean(values: Sequence[float] | Values) -> Estimate:
    """The mean of the middle half with its interval; raises as `mean` does."""
    return bootstrap(values, row_interquartile_means)


def bootstrap(values: Sequence[float] | Values, statistic: Callable[[Values], Values]) -> Estimate:
    """A statistic with its 95 % percentile interval over resampled values.

    Args:
        values: One per seed.
        statistic: Takes (rows, values) float64 and yields one number per row.

    Raises:
        ValueError: If there are no values, or one is not finite.
    """
    given = _checked(values)
    resampled = statistic(given[_resampled_indices(given.size)])
    low, high = np.quantile(resampled, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Estimate(float(statistic(given[None, :])[0]), float(low), float(high))


def paired_difference(
    ours: Sequence[float] | Values, theirs: Sequence[float] | Values
) -> Difference:
    """The mean of `ours - theirs`, seed by seed.

    Raises:
        ValueError: If the two are not of one length, are empty, or hold what is not finite.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"pairs need two values each, got {len(ours)} and {len(theirs)}")
    differences = _checked(ours) - _checked(theirs)
    found = mean(differences)
    count = differences.size
    error = float(differences.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return Difference(found.value, found.low, found.high, error)


def paired_estimate(
    ours: Sequence[float] | Values,
    theirs: Sequence[float] | Values,
    scale: Callable[[float, float], float],
) -> Estimate:
    """A function of two paired means with its interval, the pairs resampled together.

    Args:
        ours: One value per seed.
        theirs: The values of the same seeds, in the same order.
        scale: Takes the mean of ours and of theirs.

    Raises:
        ValueError: As `paired_difference` does.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"pairs need two values each, got {len(ours)} and {len(theirs)}")
    first, second = _checked(ours), _checked(theirs)
    picks = _resampled_indices(first.size)
    means = zip(first[picks].mean(axis=1), second[picks].mean(axis=1), strict=True)
    scaled = [scale(float(ours_mean), float(theirs_mean)) for ours_mean, theirs_mean in means]
    low, high = np.quantile(scaled, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    value = scale(float(first.mean()), float(second.mean()))
    return Estimate(value, float(low), float(high))


def rank_correlation(first: Sequence[float] | Values, second: Sequence[float] | Values) -> float:
    """Spearman's rank correlation of two paired samples.

    Raises:
        ValueError: If they are not of one length, hold fewer than three pairs or what is not
            finite, or one of them never changes: it then has no ranks.
    """
    ours, theirs = _checked(first), _checked(second)
    if ours.size != theirs.size or ours.size < 3:
        raise ValueError(f"need three pairs or more, got {ours.size} and {theirs.size} values")
    if np.ptp(ours) == 0.0 or np.ptp(theirs) == 0.0:
        raise ValueError("a sample whose values are all equal has no ranks")
    return float(stats.spearmanr(ours, theirs).statistic)


def _resampled_indices(count: int) -> npt.NDArray[np.int64]:
    # The same draws for every sample of one size: differences between agents then share them.
    generator = stream(BOOTSTRAP_SEED, "bootstrap")
    return generator.integers(count, size=(RESAMPLES, count))


def _checked(values: Sequence[float] | Values) -> Values:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.size == 0 or not np.isfinite(given).all():
        raise ValueError(
            f"need one finite number per seed, got {given.size} of shape {given.shape}"
        )
    return given
