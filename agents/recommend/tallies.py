"""What blocks of a minute amounted to, and what is made of it: percentiles, prices, intervals.

Latencies are kept as counts in bins of a 64th of an octave, 1.1 % wide, so that percentiles of any
resampled set of blocks can be had without the requests themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from simulator.metrics import MS_PER_S, TOKENS_PER_PRICE
from simulator.rng import stream

FloatArray = npt.NDArray[np.float64]

BINS_PER_OCTAVE: Final = 64
FIRST_BIN_S: Final = 2.0**-10
OCTAVES: Final = 16
# The last bin: never, or later than anything that counts.
BINS: Final = OCTAVES * BINS_PER_OCTAVE + 1
SUMS: Final = (
    "requests",
    "met_requests",
    "rejected",
    "tokens",
    "met_tokens",
    "cost_usd",
    "gpu_usd",
    "windows",
    "violating_windows",
    "busy",
    "reserved",
    "quality",
    "preemptions",
    "moved_knobs",
)
RESAMPLES: Final = 2_000
P99: Final = 0.99
INTERVAL: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Blocks:
    """What was counted, block by block.

    Attributes:
        ttft: (blocks, BINS) float64, requests by time to first token.
        itl: (blocks, BINS) float64, tokens by the gap before them.
        sums: (blocks, SUMS) float64.
    """

    ttft: FloatArray
    itl: FloatArray
    sums: FloatArray

    def __len__(self) -> int:
        """How many blocks."""
        return len(self.sums)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a setting or a policy reached.

    Attributes:
        p99_ttft_ms: Of all requests; infinity where one in a hundred got none in time.
        p99_itl_ms: Of all gaps between tokens.
        p50_ttft_ms: Median.
        p50_itl_ms: Median.
        met_fraction: Share of the requests that met both objectives, the second by mean gap.
        violating_fraction: Share of the seconds in which a p99 of the last ten, or a request that
            still waits, was beyond its objective.
        goodput_tps: Output tokens per second of requests that met both.
        throughput_tps: Output tokens per second.
        usd_per_1k: US dollars per 1000 output tokens, paid by the share of memory reserved.
        gpu_usd_per_1k: The same if whole GPUs are paid.
        busy_fraction: Of GPU time.
        reserved_fraction: Of the memory granted.
        quality: Share of the unquantized model's scores that is kept, by time.
        preemptions: Requests whose KV was dropped, per thousand.
        rejected_fraction: Share of the requests longer than the context.
        knob_moves: Knobs moved, per minute.
    """

    p99_ttft_ms: float
    p99_itl_ms: float
    p50_ttft_ms: float
    p50_itl_ms: float
    met_fraction: float
    violating_fraction: float
    goodput_tps: float
    throughput_tps: float
    usd_per_1k: float
    gpu_usd_per_1k: float
    busy_fraction: float
    reserved_fraction: float
    quality: float
    preemptions: float
    rejected_fraction: float
    knob_moves: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; the ends are None where one block cannot tell."""

    value: float | None
    low: float | None
    high: float | None


def bins_of(seconds: FloatArray) -> npt.NDArray[np.int64]:
    """The bin of every time; NaN and infinity fall into the last."""
    with np.errstate(invalid="ignore"):
        octaves = np.log2(np.maximum(seconds, FIRST_BIN_S) / FIRST_BIN_S)
    octaves = np.nan_to_num(octaves, nan=OCTAVES, posinf=OCTAVES)
    bins: npt.NDArray[np.int64] = np.minimum(octaves * BINS_PER_OCTAVE, BINS - 1).astype(np.int64)
    return bins


def quantiles_ms(counts: FloatArray, share: float) -> FloatArray:
    """(rows,) milliseconds by which this share of each row's counts had come; NaN of nothing."""
    total = counts.sum(axis=1)
    reached = np.cumsum(counts, axis=1)
    needed = share * total
    index = (reached < needed[:, None]).sum(axis=1).clip(0, BINS - 1)
    rows = np.arange(len(counts))
    inside = counts[rows, index]
    before = reached[rows, index] - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        place = np.where(inside > 0.0, (needed - before) / inside, 0.0)
    value_ms = MS_PER_S * FIRST_BIN_S * 2.0 ** ((index + place) / BINS_PER_OCTAVE)
    value_ms = np.where(index == BINS - 1, math.inf, value_ms)
    quantiles: FloatArray = np.where(total > 0.0, value_ms, math.nan)
    return quantiles


def summarise(blocks: Blocks) -> Summary:
    """All blocks as one."""
    return Summary(*(float(column[0]) for column in _columns(blocks, np.ones((1, len(blocks))))))


def resampled(blocks: Blocks, field: str) -> FloatArray:
    """(RESAMPLES,) a field of the summary on resampled sets of blocks.

    The same sets for all blocks of one count: differences between policies share them.
    """
    return _column(blocks, _weights(len(blocks)), field)


def interval(blocks: Blocks, field: str) -> Interval:
    """A field of the summary with its interval: a circular moving-block bootstrap."""
    value = getattr(summarise(blocks), field)
    if len(blocks) < 2:
        return Interval(_finite(value), None, None)
    low, high = _ends(resampled(blocks, field))
    return Interval(_finite(value), low, high)


def saving(ours: Blocks, theirs: Blocks, field: str = "usd_per_1k") -> Interval:
    """By what share a field of ours is below that of theirs, the same blocks resampled."""
    first, second = getattr(summarise(ours), field), getattr(summarise(theirs), field)
    value = _finite(1.0 - first / second) if second else None
    if len(ours) < 2:
        return Interval(value, None, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = 1.0 - resampled(ours, field) / resampled(theirs, field)
    low, high = _ends(shares)
    return Interval(value, low, high)


def run_length(blocks: int) -> int:
    """How many neighbouring blocks are resampled together: the cube root of their count."""
    return max(math.ceil(math.cbrt(blocks) - 1e-9), 1)


def pooled(parts: Sequence[Blocks]) -> Blocks:
    """The blocks of several stretches, one behind the other."""
    return Blocks(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Blocks.__slots__)
    )


def as_row(summary: Summary) -> dict[str, Any]:
    """The summary as JSON can say it: infinity as None."""
    return {name: _finite(getattr(summary, name)) for name in Summary.__slots__}


def from_row(row: dict[str, Any]) -> Summary:
    """What as_row made a row of."""
    return Summary(**{name: math.inf if value is None else value for name, value in row.items()})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(values: FloatArray) -> tuple[float | None, float | None]:
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(values, INTERVAL, method="nearest")
    return _finite(float(low)), _finite(float(high))


def _weights(blocks: int) -> FloatArray:
    """(RESAMPLES, blocks) how often each block is in each resampled set."""
    length = run_length(blocks)
    rng = stream(0, "recommend/blocks")
    starts = rng.integers(blocks, size=(RESAMPLES, math.ceil(blocks / length)))
    picks = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :blocks] % blocks
    flat = np.arange(RESAMPLES)[:, None] * blocks + picks
    counts = np.bincount(flat.ravel(), minlength=RESAMPLES * blocks)
    return counts.reshape(RESAMPLES, blocks).astype(np.float64)


def _columns(blocks: Blocks, weights: FloatArray) -> list[FloatArray]:
    return [_column(blocks, weights, name) for name in Summary.__slots__]


def _column(blocks: Blocks, weights: FloatArray, field: str) -> FloatArray:
    """(rows,) a field of the summary for every row of weights (rows, blocks)."""
    if field.endswith(("ttft_ms", "itl_ms")):
        counts = blocks.ttft if field.endswith("ttft_ms") else blocks.itl
        return quantiles_ms(weights @ counts, P99 if field.startswith("p99") else 0.5)
    sums = dict(zip(SUMS, (weights @ blocks.sums).T, strict=True))
    above, below, factor = _RATIOS[field]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: FloatArray = factor * sums[above] / sums[below]
    return np.where(np.isnan(ratio), 0.0, ratio)


# Fields that are a sum over another, and a factor. Windows last a second.
_RATIOS: Final[dict[str, tuple[str, str, float]]] = {
    "met_fraction": ("met_requests", "requests", 1.0),
    "violating_fraction": ("violating_windows", "windows", 1.0),
    "goodput_tps": ("met_tokens", "windows", 1.0),
    "throughput_tps": ("tokens", "windows", 1.0),
    "usd_per_1k": ("cost_usd", "tokens", TOKENS_PER_PRICE),
    "gpu_usd_per_1k": ("gpu_usd", "tokens", TOKENS_PER_PRICE),
    "busy_fraction": ("busy", "windows", 1.0),
    "reserved_fraction": ("reserved", "windows", 1.0),
    "quality": ("quality", "windows", 1.0),
    "preemptions": ("preemptions", "requests", 1e3),
    "rejected_fraction": ("rejected", "requests", 1.0),
    "knob_moves": ("moved_knobs", "windows", 60.0),
}
