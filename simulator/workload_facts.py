"""Turns the requests of an episode into the facts that describe its traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llmserve_env.errors import InvalidInputError
from simulator.records import FloatArray, IntArray, RequestBatch

# Variance over mean of fewer counts than this says nothing about the traffic.
MIN_COUNTS_FOR_DISPERSION = 3


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """Rates, burstiness and lengths of a batch of requests; None where too little was seen.

    Attributes:
        request_count: Requests in the batch.
        mean_rps: Requests per second over the horizon.
        peak_1s_rps: Largest rate over the whole seconds of the episode.
        peak_10s_rps: Largest rate over its stretches of 10 s.
        dispersion_1s: Variance over mean of the counts per second; 1 for a Poisson process.
        dispersion_10s: The same for 10 s.
        dispersion_60s: The same for 60 s.
        mean_prompt_tokens: Mean, median and 99th percentile of the prompts follow.
        p50_prompt_tokens: Median.
        p99_prompt_tokens: 99th percentile.
        mean_output_tokens: The same of the outputs.
        p50_output_tokens: Median.
        p99_output_tokens: 99th percentile.
    """

    request_count: int
    mean_rps: float
    peak_1s_rps: float | None
    peak_10s_rps: float | None
    dispersion_1s: float | None
    dispersion_10s: float | None
    dispersion_60s: float | None
    mean_prompt_tokens: float | None
    p50_prompt_tokens: float | None
    p99_prompt_tokens: float | None
    mean_output_tokens: float | None
    p50_output_tokens: float | None
    p99_output_tokens: float | None


def describe(batch: RequestBatch, *, horizon_s: float) -> WorkloadFacts:
    """The facts of a batch that covers [0, horizon).

    Raises:
        InvalidInputError: If the horizon is not a positive number.
    """
    if not 0.0 < horizon_s < math.inf:
        raise InvalidInputError(f"horizon_s must be above 0 and finite, got {horizon_s}")
    per_1s, per_10s, per_60s = (
        _counts(batch.arrival_s, width_s, horizon_s) for width_s in (1.0, 10.0, 60.0)
    )
    prompt_mean, prompt_p50, prompt_p99 = _length_facts(batch.prompt_tokens)
    output_mean, output_p50, output_p99 = _length_facts(batch.output_tokens)
    return WorkloadFacts(
        request_count=len(batch),
        mean_rps=len(batch) / horizon_s,
        peak_1s_rps=_peak_rps(per_1s, 1.0),
        peak_10s_rps=_peak_rps(per_10s, 10.0),
        dispersion_1s=_dispersion(per_1s),
        dispersion_10s=_dispersion(per_10s),
        dispersion_60s=_dispersion(per_60s),
        mean_prompt_tokens=prompt_mean,
        p50_prompt_tokens=prompt_p50,
        p99_prompt_tokens=prompt_p99,
        mean_output_tokens=output_mean,
        p50_output_tokens=output_p50,
        p99_output_tokens=output_p99,
    )


def _counts(arrival_s: FloatArray, width_s: float, horizon_s: float) -> IntArray:
    """Arrivals in each whole stretch of this width; a rest at the end is left out."""
    bins = int(horizon_s // width_s)
    index = (arrival_s // width_s).astype(np.int64)
    return np.bincount(index[index < bins], minlength=bins)


def _peak_rps(counts: IntArray, width_s: float) -> float | None:
    return float(counts.max()) / width_s if len(counts) > 0 else None


def _dispersion(counts: IntArray) -> float | None:
    if len(counts) < MIN_COUNTS_FOR_DISPERSION or not counts.any():
        return None
    return float(counts.var() / counts.mean())


def _length_facts(
    token_counts: IntArray,
) -> tuple[float, float, float] | tuple[None, None, None]:
    if len(token_counts) == 0:
        return None, None, None
    p50, p99 = np.quantile(token_counts, (0.5, 0.99))
    return float(token_counts.mean()), float(p50), float(p99)
