"""Fits a generator to a trace, and shows how near it comes: dispersion and lengths side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri
from scipy.stats import ks_2samp, rankdata

from llmserve_env.errors import InvalidInputError
from llmserve_env.preset_spec import Preset, PresetArrivals
from llmserve_env.workloads import MMPP, Poisson, Quantiles, Stream, WorkloadSpec
from simulator.arrival_fits import (
    DAY_S,
    MIN_STRETCHES,
    dispersion_curve,
    fit_daily,
    fit_log_ou,
    fit_mmpp,
)
from simulator.arrivals import arrival_times
from simulator.presets import read_preset
from simulator.rates import constant
from simulator.records import FloatArray, IntArray
from simulator.rng import stream
from simulator.traces import Trace
from simulator.workload import generate

CHECK_WIDTHS_S: Final = (1, 10, 60)
LEVELS: Final = (
    *(0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0),
)  # fmt: skip
MMPP_STATES: Final = (2, 3, 4, 5, 6)
SMALLEST_DISPERSION: Final = 0.1
MIN_REQUESTS: Final = 200
MIN_DURATION_S: Final = 120
MAX_SECONDS: Final = 5_000_000
# So many runs of the trace's own length, but not longer in all than this.
CHECK_RUNS: Final = 20
CHOICE_RUNS: Final = 8
MAX_CHECK_S: Final = 400_000
CHECK_SEED: Final = 2_000_000
# What a further parameter must gain, in the units of a fit's error.
PARAMETER_PRICE: Final = 0.002
# A recording says nothing of drafts: a draft model's acceptance on chat stands in.
ACCEPTANCE_OF: Final = "azure_conv_2023"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One family fitted to the arrivals.

    Attributes:
        arrivals: The fit.
        error: Mean of |log of the ratio of dispersions| over the widths, plus the largest
            difference between the distributions of counts per second.
        parameters: How many were fitted.
    """

    arrivals: PresetArrivals
    error: float
    parameters: int

    @property
    def label(self) -> str:
        """The family, with its number of states."""
        arrivals = self.arrivals
        states = f" {len(arrivals.rates_rps)}" if isinstance(arrivals, MMPP) else ""
        return arrivals.family + states


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One statistic of the trace beside the fit's; low and high are its 5 % and 95 % over runs."""

    quantity: str
    trace: float
    fit: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """A fitted preset, what else was tried, and how it compares with the trace."""

    preset: Preset
    candidates: tuple[Candidate, ...]
    check: tuple[CheckRow, ...]
    runs: int


def fit_trace(trace: Trace, *, source: str, licence: str) -> FitReport:
    """The generator that comes nearest to a trace, and its check.

    Args:
        trace: At least MIN_REQUESTS over MIN_DURATION_S.
        source: Where it comes from, for the preset.
        licence: Of the source.

    Raises:
        InvalidInputError: If the trace is too short or too long.
    """
    counts = _counts(trace)
    candidates = sorted(
        _candidates(counts), key=lambda each: each.error + PARAMETER_PRICE * each.parameters
    )
    preset = Preset(
        description=f"Fitted to {trace.path.stem}: {len(trace.arrival_s)} requests in "
        f"{trace.duration_s:.0f} s.",
        source=source,
        licence=licence,
        confidence="measured",
        arrivals=candidates[0].arrivals,
        prompt=length_quantiles(trace.prompt_tokens),
        output=length_quantiles(trace.output_tokens),
        prompt_output_correlation=_copula_correlation(trace),
        acceptance=read_preset(ACCEPTANCE_OF).acceptance,
    )
    runs = _run_count(trace)
    return FitReport(preset, tuple(candidates), check_fit(preset, trace, runs=runs), runs)


def length_quantiles(tokens: IntArray) -> Quantiles:
    """The inverse distribution of lengths at LEVELS."""
    values = np.maximum.accumulate(np.round(np.quantile(tokens, LEVELS), 1))
    return Quantiles(levels=LEVELS, values=tuple(values.tolist()))


def check_fit(preset: Preset, trace: Trace, *, runs: int) -> tuple[CheckRow, ...]:
    """Statistics of the trace beside those of so many runs of the preset, as long as the trace."""
    drawn = [_statistics(*each) for each in _drawn(preset, trace.duration_s, runs)]
    recorded = _statistics(
        trace.arrival_s, trace.prompt_tokens, trace.output_tokens, trace.duration_s
    )
    rows = []
    for quantity, value in recorded.items():
        values = [each[quantity] for each in drawn if quantity in each]
        if values:
            low, high = np.quantile(values, (0.05, 0.95))
            rows.append(CheckRow(quantity, value, float(np.mean(values)), float(low), float(high)))
    return tuple(rows)


def _counts(trace: Trace) -> IntArray:
    """(seconds,) requests in each whole second of the trace."""
    seconds, requests = int(trace.duration_s), len(trace.arrival_s)
    if requests < MIN_REQUESTS or not MIN_DURATION_S <= seconds <= MAX_SECONDS:
        raise InvalidInputError(
            f"trace {trace.path.name}: a fit needs {MIN_REQUESTS} requests or more over "
            f"{MIN_DURATION_S} to {MAX_SECONDS} s, got {requests} over {trace.duration_s:.6g} s"
        )
    index = trace.arrival_s.astype(np.int64)
    return np.bincount(index[index < seconds], minlength=seconds)


def _candidates(counts: IntArray) -> Iterator[Candidate]:
    rate_rps = float(counts.mean())
    yield _scored(Poisson(rate_rps=rate_rps), counts, parameters=1)
    if len(dispersion_curve(counts)) > 1:
        yield _scored(fit_log_ou(counts), counts, parameters=3)
    if len(counts) >= 2 * DAY_S:
        yield _scored(fit_daily(counts), counts, parameters=26)
    for states in MMPP_STATES:
        if counts.max() >= states:
            yield _scored(fit_mmpp(counts, states), counts, parameters=states**2)


def _scored(arrivals: PresetArrivals, counts: IntArray, *, parameters: int) -> Candidate:
    horizon_s = float(len(counts))
    runs = max(2, min(CHOICE_RUNS, int(MAX_CHECK_S // horizon_s)))
    recorded = dispersion_curve(counts)
    curves, seconds = [], []
    for run in range(runs):
        times_s = arrival_times(
            arrivals,
            constant(1.0, horizon_s),
            modulation=stream(CHECK_SEED + run, "fit/modulation"),
            placement=stream(CHECK_SEED + run, "fit/placement"),
        )
        drawn = np.bincount(times_s.astype(np.int64), minlength=len(counts))
        curves.append(dispersion_curve(drawn))
        seconds.append(drawn)
    errors = []
    for width_s, value in recorded.items():
        mean = float(np.mean([curve[width_s] for curve in curves]))
        errors.append(abs(np.log(max(mean, SMALLEST_DISPERSION) / max(value, SMALLEST_DISPERSION))))
    distance = float(ks_2samp(np.concatenate(seconds), counts, method="asymp").statistic)
    return Candidate(arrivals, float(np.mean(errors)) + distance, parameters)


def _run_count(trace: Trace) -> int:
    return max(2, min(CHECK_RUNS, int(MAX_CHECK_S // trace.duration_s)))


def _drawn(
    preset: Preset, horizon_s: float, runs: int
) -> Iterator[tuple[FloatArray, IntArray, IntArray, float]]:
    if preset.arrivals is None:
        raise InvalidInputError("a preset of lengths only draws no arrivals")
    drawn = Stream(
        name="fit",
        arrivals=preset.arrivals,
        prompt=preset.prompt,
        output=preset.output,
        prompt_output_correlation=preset.prompt_output_correlation,
        acceptance=preset.acceptance,
    )
    for run in range(runs):
        batch = generate(
            WorkloadSpec(streams=(drawn,)), horizon_s=horizon_s, trace_seed=CHECK_SEED + run
        )
        yield batch.arrival_s, batch.prompt_tokens, batch.output_tokens, horizon_s


def _statistics(
    arrival_s: FloatArray, prompts: IntArray, outputs: IntArray, horizon_s: float
) -> dict[str, float]:
    facts = {"requests per second": len(arrival_s) / horizon_s}
    for width_s in CHECK_WIDTHS_S:
        stretches = int(horizon_s // width_s)
        if stretches >= MIN_STRETCHES:
            index = (arrival_s // width_s).astype(np.int64)
            counts = np.bincount(index[index < stretches], minlength=stretches)
            facts[f"dispersion, {width_s} s"] = float(counts.var() / max(counts.mean(), 1e-9))
    for name, tokens in (("prompt", prompts), ("output", outputs)):
        if len(tokens):
            p50, p90, p99 = np.quantile(tokens, (0.5, 0.9, 0.99))
            facts |= {
                f"{name} tokens, mean": float(tokens.mean()),
                f"{name} tokens, p50": float(p50),
                f"{name} tokens, p90": float(p90),
                f"{name} tokens, p99": float(p99),
            }
    return facts


def _copula_correlation(trace: Trace) -> float:
    """Correlation of the normal scores of prompt and output lengths."""
    scores = [
        ndtri((rankdata(tokens) - 0.5) / len(tokens))
        for tokens in (trace.prompt_tokens, trace.output_tokens)
    ]
    if min(float(np.ptp(score)) for score in scores) == 0.0:
        return 0.0
    return round(float(np.corrcoef(scores[0], scores[1])[0, 1]), 3)
