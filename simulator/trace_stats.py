"""The statistics of a trace: rates, burstiness at several widths, and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy.stats import spearmanr

from simulator.records import FloatArray, IntArray
from simulator.traces import Trace, read_trace, split_stretch
from simulator.workload_facts import MIN_COUNTS_FOR_DISPERSION

WIDTHS_S: Final = (1.0, 10.0, 60.0)
QUANTILE_LEVELS: Final = (0.5, 0.9, 0.95, 0.99)
PROFILE_BARS: Final = 60
HISTOGRAM_BARS: Final = 40
# What a task plays; a trace that holds three of these, one per split, is cut by time.
EPISODE_S: Final = 200.0
MIN_ROWS_FOR_CORRELATION: Final = 10


@dataclass(frozen=True, slots=True)
class WidthFacts:
    """Counts of requests per stretch of some width; None where fewer than three fit.

    Attributes:
        width_s: Of the stretches.
        peak_rps: The largest rate over one.
        dispersion: Variance over mean of the counts; 1 for a Poisson process.
        empty_fraction: Share of stretches without a request.
    """

    width_s: float
    peak_rps: float | None
    dispersion: float | None
    empty_fraction: float | None


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """Lengths in tokens, and a histogram over equal steps of their logarithm.

    Attributes:
        mean: Mean.
        p50: Median; other quantiles follow.
        p90: 90 % quantile.
        p95: 95 % quantile.
        p99: 99 % quantile.
        longest: The longest.
        histogram: Counts from the shortest to the longest, on a logarithmic scale.
    """

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    longest: int
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TraceStats:
    """What `llmserve trace stats` shows.

    Attributes:
        name: Of the trace.
        requests: Count.
        duration_s: From the first request to the last.
        mean_rps: Requests per second; None for a trace of no duration.
        gap_cv: Standard deviation over mean of the gaps; 1 for a Poisson process.
        widths: Rates and dispersion at 1, 10 and 60 s.
        prompt: Lengths of the prompts.
        output: Lengths of the outputs.
        length_correlation: Spearman's, between prompt and output; None with few requests or
            where one of the lengths never changes.
        class_shares: Of the priority classes 0, 1, 2; None if they are not recorded.
        rate_profile_rps: Mean rates over equal parts of the trace.
        is_split: Whether training, validation and test seeds play stretches of their own.
    """

    name: str
    requests: int
    duration_s: float
    mean_rps: float | None
    gap_cv: float | None
    widths: tuple[WidthFacts, ...]
    prompt: LengthFacts
    output: LengthFacts
    length_correlation: float | None
    class_shares: tuple[float, ...] | None
    rate_profile_rps: tuple[float, ...]
    is_split: bool


def trace_stats(path: Path) -> TraceStats:
    """The statistics of the trace in this file.

    Raises:
        InvalidInputError: As `read_trace`.
    """
    trace = read_trace(path)
    arrival_s, duration_s = trace.arrival_s, trace.duration_s
    count = len(arrival_s)
    return TraceStats(
        name=path.stem,
        requests=count,
        duration_s=duration_s,
        mean_rps=count / duration_s if duration_s > 0.0 else None,
        gap_cv=_gap_cv(arrival_s),
        widths=tuple(width_facts(arrival_s, width_s, duration_s) for width_s in WIDTHS_S),
        prompt=length_facts(trace.prompt_tokens),
        output=length_facts(trace.output_tokens),
        length_correlation=_correlation(trace.prompt_tokens, trace.output_tokens),
        class_shares=_class_shares(trace),
        rate_profile_rps=_profile(arrival_s, duration_s),
        is_split=split_stretch(trace, 0, episode_s=EPISODE_S)[2] is not None,
    )


def width_facts(arrival_s: FloatArray, width_s: float, horizon_s: float) -> WidthFacts:
    """Rate and dispersion over stretches of this width; a rest at the end is left out.

    Only stretches with requests are kept in memory: a trace may have gaps of years.
    """
    stretches = int(horizon_s // width_s)
    if stretches < MIN_COUNTS_FOR_DISPERSION:
        return WidthFacts(width_s, None, None, None)
    index = (arrival_s // width_s).astype(np.int64)
    _, counts = np.unique(index[index < stretches], return_counts=True)
    if len(counts) == 0:
        return WidthFacts(width_s, None, None, None)
    mean = float(counts.sum()) / stretches
    variance = float((counts.astype(float) ** 2).sum()) / stretches - mean**2
    return WidthFacts(
        width_s=width_s,
        peak_rps=float(counts.max()) / width_s,
        dispersion=variance / mean,
        empty_fraction=1.0 - len(counts) / stretches,
    )


def length_facts(tokens: IntArray) -> LengthFacts:
    """The facts of lengths, of which there is at least one."""
    p50, p90, p95, p99 = (float(value) for value in np.quantile(tokens, QUANTILE_LEVELS))
    low, high = np.log(tokens.min()), np.log(tokens.max())
    histogram, _ = np.histogram(np.log(tokens), HISTOGRAM_BARS, (low, max(high, low + 1e-9)))
    return LengthFacts(
        mean=float(tokens.mean()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        longest=int(tokens.max()),
        histogram=tuple(histogram.tolist()),
    )


def _gap_cv(arrival_s: FloatArray) -> float | None:
    gaps_s = np.diff(arrival_s)
    if len(gaps_s) < MIN_COUNTS_FOR_DISPERSION or gaps_s.mean() <= 0.0:
        return None
    return float(gaps_s.std() / gaps_s.mean())


def _correlation(prompts: IntArray, outputs: IntArray) -> float | None:
    if len(prompts) < MIN_ROWS_FOR_CORRELATION or np.ptp(prompts) == 0 or np.ptp(outputs) == 0:
        return None
    return float(spearmanr(prompts, outputs).statistic)


def _class_shares(trace: Trace) -> tuple[float, ...] | None:
    if trace.priority_class is None:
        return None
    counts = np.bincount(trace.priority_class, minlength=3)
    return tuple((counts / counts.sum()).tolist())


def _profile(arrival_s: FloatArray, duration_s: float) -> tuple[float, ...]:
    if duration_s <= 0.0:
        return ()
    counts, _ = np.histogram(arrival_s, PROFILE_BARS, (0.0, duration_s))
    return tuple((counts * PROFILE_BARS / duration_s).tolist())
