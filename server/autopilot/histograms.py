"""Histograms of a Prometheus page: what came between two readings, percentiles and shares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket, of one reading or between two.

    Attributes:
        bounds: Upper end of every bucket, ascending; the last is infinite.
        counts: Samples in each bucket, not cumulated.
        total: Sum of all samples.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return round(math.fsum(self.counts))

    @property
    def mean(self) -> float | None:
        """Exact, because the sum is told; None without samples."""
        return self.total / self.samples if self.samples > 0 else None

    def since(self, before: Self | None) -> Self:
        """What was added since an earlier reading; all of it if there was none.

        Smaller counts than before say that the server was started anew: they count from 0 then.
        """
        if before is None or before.bounds != self.bounds or self.samples < before.samples:
            return self
        counts = tuple(now - was for now, was in zip(self.counts, before.counts, strict=True))
        return type(self)(self.bounds, counts, self.total - before.total)

    def quantile(self, share: float) -> float | None:
        """The value below which a share of the samples lies, as Prometheus's histogram_quantile.

        Within a bucket samples are taken to be spread evenly; what lies beyond the last finite
        bound is reported as that bound. None without samples.
        """
        if self.samples == 0:
            return None
        lows, highs = self._edges()
        cumulated = np.cumsum(self.counts)
        bucket = int(np.searchsorted(cumulated, share * cumulated[-1]))
        bucket = min(bucket, len(self.counts) - 1)
        below = cumulated[bucket] - self.counts[bucket]
        inside = (share * cumulated[-1] - below) / max(self.counts[bucket], 1.0)
        return float(lows[bucket] + min(inside, 1.0) * (highs[bucket] - lows[bucket]))

    def share_within(self, limit: float) -> float | None:
        """The share of the samples up to a limit, spread evenly in its bucket; None if none."""
        if self.samples == 0:
            return None
        lows, highs = self._edges()
        widths = np.maximum(highs - lows, np.finfo(float).eps)
        filled = np.clip((limit - lows) / widths, 0.0, 1.0)
        return float(filled @ np.array(self.counts) / math.fsum(self.counts))

    def _edges(self) -> tuple[Any, Any]:
        highs = np.array(self.bounds)
        lows = np.concatenate(([0.0], highs[:-1]))
        highs = np.where(np.isinf(highs), lows, highs)
        return lows, highs


def histogram_of(samples: Iterable[Any], name: str) -> Histogram | None:
    """One histogram from a family's samples, summed over labels; None if it has no bucket.

    Args:
        samples: Of prometheus_client's parser.
        name: Of the family.
    """
    cumulated: dict[float, float] = {}
    total = 0.0
    for sample in samples:
        if sample.name == f"{name}_bucket":
            bound = float(sample.labels["le"])
            cumulated[bound] = cumulated.get(bound, 0.0) + sample.value
        elif sample.name == f"{name}_sum":
            total += sample.value
    if not cumulated:
        return None
    bounds = tuple(sorted(cumulated))
    steps = np.diff([cumulated[bound] for bound in bounds], prepend=0.0)
    return Histogram(bounds, tuple(float(step) for step in steps), total)
