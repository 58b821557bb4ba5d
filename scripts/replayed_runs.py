"""Runs of a real server and the same arrivals in the simulator, summarised alike.

Definitions: TTFT is the first output after the time a request was due to be sent; TPOT is
(last output - first output) / (output tokens - 1) per request; ITL is the gaps between successive
outputs, all requests pooled; throughput is output tokens over the time of the last output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scripts.tiny_deployment import setting, tiny_task
from simulator.calibration.outcomes import weighted_quantile
from simulator.deployment import StepCosts
from simulator.hardware import load_profile
from simulator.records import FloatArray, RequestBatch, RequestResults
from simulator.state import FINISHED
from simulator.trace_simulator import TraceSimulator

MOST_WINDOWS: Final = 10_000
LEAST_FACTOR: Final = 0.3
LARGEST_FACTOR: Final = 4.0
BISECTIONS: Final = 24


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run on the real server.

    Attributes:
        run: Its number, in the order of time.
        role: probe, held_out or ranking.
        family: Of the arrivals.
        rate_rps: Their mean rate.
        seed: Of the traffic.
        batch_cap: In force on the server.
        kv_budget_fraction: In force on the server.
        itl_p50_ms: Measured; gaps are not kept one by one.
        itl_p99_ms: Measured.
        client_lag_ms: The longest time that the client woke up late.
        starved_fraction: Share of seconds in which the client was unfit to measure.
        failures: Requests without a complete answer.
    """

    run: int
    role: str
    family: str
    rate_rps: float
    seed: int
    batch_cap: int
    kv_budget_fraction: float
    itl_p50_ms: float
    itl_p99_ms: float
    client_lag_ms: float
    starved_fraction: float
    failures: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One answered request of a run; tokens as the server counted them."""

    run: int
    due_s: float
    prompt_tokens: int
    output_tokens: int
    ttft_ms: float
    tpot_ms: float
    finish_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests of a run, measured or simulated.

    Attributes:
        ttft_ms: (requests,) float64.
        tpot_ms: (requests,) float64; NaN where a single token came.
        itl_p50_ms: Over all gaps.
        itl_p99_ms: Over all gaps.
        output_tps: Output tokens per second until the last output.
    """

    ttft_ms: FloatArray
    tpot_ms: FloatArray
    itl_p50_ms: float
    itl_p99_ms: float
    output_tps: float

    def figures(self) -> dict[str, float]:
        """The figures that are compared, by the names in FIGURES."""
        ttft, tpot = self.ttft_ms, self.tpot_ms[np.isfinite(self.tpot_ms)]
        return {
            "ttft_p50_ms": float(np.percentile(ttft, 50)),
            "ttft_mean_ms": float(ttft.mean()),
            "ttft_p99_ms": float(np.percentile(ttft, 99)),
            "tpot_p50_ms": float(np.percentile(tpot, 50)),
            "tpot_mean_ms": float(tpot.mean()),
            "itl_p50_ms": self.itl_p50_ms,
            "itl_p99_ms": self.itl_p99_ms,
            "output_tps": self.output_tps,
        }

    def met_fraction(self, *, ttft_slo_ms: float, tpot_slo_ms: float) -> float:
        """Share of the requests that met both objectives."""
        tpot = np.nan_to_num(self.tpot_ms, nan=0.0)
        return float(np.mean((self.ttft_ms <= ttft_slo_ms) & (tpot <= tpot_slo_ms)))


def measured_outcome(run: RunRow, requests: Sequence[RequestRow]) -> Outcome:
    """The outcome of a run on the real server."""
    tokens = sum(request.output_tokens for request in requests)
    return Outcome(
        ttft_ms=np.array([request.ttft_ms for request in requests]),
        tpot_ms=np.array([request.tpot_ms for request in requests]),
        itl_p50_ms=run.itl_p50_ms,
        itl_p99_ms=run.itl_p99_ms,
        output_tps=tokens / max(request.finish_s for request in requests),
    )


def simulated_outcome(run: RunRow, requests: Sequence[RequestRow], factor: float) -> Outcome:
    """The outcome of the same arrivals and lengths in the simulator.

    Args:
        run: Its setting.
        requests: What was sent, and when; measured times are not read.
        factor: On every step time; the API's time stays.

    Raises:
        RuntimeError: If the simulator does not come to an end.
    """
    batch = as_batch(requests)
    action = setting(run.batch_cap, run.kv_budget_fraction)
    task = tiny_task(run.family, run.rate_rps, 1.0, default_action=action)
    simulator = TraceSimulator()
    simulator.load(task, batch, seed=0)
    simulator.engine.reset(0, batch, StepCosts(linear=factor, attention=factor, host=factor))
    gaps: list[FloatArray] = []
    weights: list[FloatArray] = []
    for _ in range(MOST_WINDOWS):
        log = simulator.simulate(action)
        gaps.append(log.itl_s)
        weights.append(log.itl_tokens)
        results = simulator.results()
        if (results.status >= FINISHED).all():
            break
    else:
        raise RuntimeError(f"run {run.run}: not all requests ended in {MOST_WINDOWS} windows")
    return _outcome(results, batch, np.concatenate(gaps), np.concatenate(weights))


def as_batch(requests: Sequence[RequestRow]) -> RequestBatch:
    """Recorded requests as the simulator reads them."""
    count = len(requests)
    return RequestBatch(
        arrival_s=np.array([request.due_s for request in requests]),
        prompt_tokens=np.array([request.prompt_tokens for request in requests], np.int64),
        output_tokens=np.array([request.output_tokens for request in requests], np.int64),
        priority_class=np.ones(count, np.int64),
        stream=np.zeros(count, np.int64),
        acceptance_first=np.zeros(count),
        acceptance_ratio=np.ones(count),
        load_level=1.0,
    )


def slowdown(run: RunRow, requests: Sequence[RequestRow]) -> float:
    """The factor on step times at which the simulated mean TPOT of a run is the measured one.

    Raises:
        ValueError: If no factor in the range that is looked at does it.
    """
    wanted = measured_outcome(run, requests).figures()["tpot_mean_ms"]

    def excess(factor: float) -> float:
        return simulated_outcome(run, requests, factor).figures()["tpot_mean_ms"] - wanted

    low, high = LEAST_FACTOR, LARGEST_FACTOR
    if excess(low) > 0.0 or excess(high) < 0.0:
        raise ValueError(f"run {run.run}: no slowdown in [{low}, {high}] gives {wanted:.1f} ms")
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if excess(middle) > 0.0 else (middle, high)
    return 0.5 * (low + high)


def _outcome(
    results: RequestResults, batch: RequestBatch, gaps_s: FloatArray, weights: FloatArray
) -> Outcome:
    api_s = load_profile("cpu-tiny").serving.api_s
    later = batch.output_tokens - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot_s = np.where(later > 0, (results.finish_s - results.first_token_s) / later, np.nan)
    return Outcome(
        ttft_ms=1e3 * (results.first_token_s - results.arrival_s + api_s),
        tpot_ms=1e3 * tpot_s,
        itl_p50_ms=1e3 * weighted_quantile(gaps_s, weights, 0.5),
        itl_p99_ms=1e3 * weighted_quantile(gaps_s, weights, 0.99),
        output_tps=float(batch.output_tokens.sum() / (results.finish_s.max() + api_s)),
    )
