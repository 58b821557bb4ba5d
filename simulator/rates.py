"""Turns a description of traffic into a piecewise-constant rate over an episode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from llmserve_env.workloads import MMPP, NHPP, Bursts, CoxLogOU, Poisson, Regimes
from simulator.records import FloatArray, IntArray

MAX_RATE_STEP_S = 1.0
RATE_STEPS_PER_TAU = 4.0
# The lazy chain after this many steps is at its limit for every chain worth simulating; the
# power is taken by repeated squaring, so it costs 20 small products.
STATIONARY_STEPS = 2**20

RateFamily = Poisson | CoxLogOU | MMPP | NHPP | Bursts


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A function of time that is constant between edges.

    Attributes:
        edges_s: (segments + 1,) float64, rising, from 0 to the horizon.
        values: (segments,) float64, not negative.
    """

    edges_s: FloatArray
    values: FloatArray

    @property
    def horizon_s(self) -> float:
        """The last edge."""
        return float(self.edges_s[-1])

    def at(self, times_s: FloatArray) -> FloatArray:
        """The values at times in [0, horizon)."""
        return self.values[np.searchsorted(self.edges_s, times_s, side="right") - 1]

    def cumulative(self) -> FloatArray:
        """(segments + 1,) float64, the integral from 0 to each edge."""
        return np.concatenate(([0.0], np.cumsum(np.diff(self.edges_s) * self.values)))

    def scaled(self, factor: float) -> StepFunction:
        """This function times a factor."""
        return StepFunction(self.edges_s, self.values * factor)

    def times(self, other: StepFunction) -> StepFunction:
        """The product of two functions with the same horizon."""
        edges_s = np.union1d(self.edges_s, other.edges_s)
        starts_s = edges_s[:-1]
        return StepFunction(edges_s, self.at(starts_s) * other.at(starts_s))


def constant(value: float, horizon_s: float) -> StepFunction:
    """The function with one value from 0 to the horizon."""
    return StepFunction(np.array([0.0, horizon_s]), np.array([value]))


def rate_function(
    arrivals: RateFamily, *, horizon_s: float, rng: np.random.Generator
) -> StepFunction:
    """One draw of the rate, in requests per second, of a Poisson process with a random rate."""
    match arrivals:
        case Poisson():
            return constant(arrivals.rate_rps, horizon_s)
        case CoxLogOU():
            return _log_ou_rate(arrivals, horizon_s, rng)
        case MMPP():
            return _markov_rate(arrivals, horizon_s, rng)
        case NHPP():
            return _cyclic_rate(arrivals, horizon_s, rng)
        case Bursts():
            return _burst_rate(arrivals, horizon_s, rng)


def regime_path(
    regimes: Regimes, *, horizon_s: float, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """The edges in seconds and the states between them; the episode starts inside a dwell time."""
    count = len(regimes.rate_multipliers)
    dwells_s = [_residual_s(regimes.dwell_low_s, regimes.dwell_high_s, rng)[1]]
    states = [int(rng.integers(count))]
    edges_s = [0.0, dwells_s[0]]
    while edges_s[-1] < horizon_s:
        states.append((states[-1] + int(rng.integers(1, count))) % count)
        edges_s.append(edges_s[-1] + rng.uniform(regimes.dwell_low_s, regimes.dwell_high_s))
    edges_s[-1] = horizon_s
    return np.array(edges_s), np.array(states, dtype=np.int64)


def _from_regular_steps(
    values: FloatArray, *, step_s: float, first_edge_s: float, horizon_s: float
) -> StepFunction:
    """Values that each last step_s; the first began at first_edge_s <= 0, the last covers the end.

    Edges are cut at 0 and at the horizon.
    """
    inner_s = first_edge_s + step_s * np.arange(1, len(values))
    inside = (inner_s > 0.0) & (inner_s < horizon_s)
    first = int(np.count_nonzero(inner_s <= 0.0))
    edges_s = np.concatenate(([0.0], inner_s[inside], [horizon_s]))
    return StepFunction(edges_s, values[first : first + len(edges_s) - 1])


def _log_ou_rate(arrivals: CoxLogOU, horizon_s: float, rng: np.random.Generator) -> StepFunction:
    # Exact transition of the Ornstein-Uhlenbeck process over a step, started in its stationary law.
    step_s = min(MAX_RATE_STEP_S, arrivals.tau_s / RATE_STEPS_PER_TAU)
    sigma = arrivals.sigma_log_rate
    decay = math.exp(-step_s / arrivals.tau_s)
    noise = sigma * math.sqrt(1.0 - decay**2) * rng.standard_normal(math.ceil(horizon_s / step_s))
    noise[0] = sigma * rng.standard_normal()
    log_rate = np.fromiter(accumulate(noise, lambda x, z: decay * x + z), float, len(noise))
    return _from_regular_steps(
        arrivals.rate_rps * np.exp(log_rate - 0.5 * sigma**2),
        step_s=step_s,
        first_edge_s=0.0,
        horizon_s=horizon_s,
    )


def stationary_distribution(transitions: tuple[tuple[float, ...], ...]) -> FloatArray:
    """(states,) float64, the long-run shares of the states, started from all alike.

    Rows are scaled to add up to 1.
    """
    chain = _normalised(transitions)
    lazy = 0.5 * (chain + np.eye(len(chain)))  # same limit, and no cycles
    shares: FloatArray = np.linalg.matrix_power(lazy, STATIONARY_STEPS).mean(axis=0)
    shares /= shares.sum()
    return shares


def _normalised(transitions: tuple[tuple[float, ...], ...]) -> FloatArray:
    chain: FloatArray = np.array(transitions)
    chain /= chain.sum(axis=1, keepdims=True)
    return chain


def _markov_rate(arrivals: MMPP, horizon_s: float, rng: np.random.Generator) -> StepFunction:
    # Steps begin with the episode: the chains were fitted to aligned one-second counts.
    steps = math.ceil(horizon_s / arrivals.step_s)
    rows = np.cumsum(_normalised(arrivals.transitions), axis=1)
    rows[:, -1] = 1.0
    uniforms = rng.random(steps)
    states = np.zeros(steps, dtype=np.int64)
    start = np.cumsum(stationary_distribution(arrivals.transitions))
    states[0] = min(int(np.searchsorted(start, uniforms[0], side="right")), len(start) - 1)
    # For each step, where every state would go: then following the path is one look-up a step.
    targets = np.stack([np.searchsorted(row, uniforms, side="right") for row in rows], axis=1)
    for step in range(1, steps):
        states[step] = targets[step, states[step - 1]]
    return _from_regular_steps(
        np.array(arrivals.rates_rps)[states],
        step_s=arrivals.step_s,
        first_edge_s=0.0,
        horizon_s=horizon_s,
    )


def _cyclic_rate(arrivals: NHPP, horizon_s: float, rng: np.random.Generator) -> StepFunction:
    profile = np.array(arrivals.multipliers)
    cycle_s = arrivals.segment_s * len(profile)
    offset_s = rng.uniform(0.0, cycle_s)
    cycles = math.ceil((offset_s + horizon_s) / cycle_s)
    sigma = arrivals.cycle_log_sigma
    factors = np.exp(sigma * rng.standard_normal(cycles) - 0.5 * sigma**2)
    return _from_regular_steps(
        arrivals.rate_rps * np.outer(factors, profile).ravel(),
        step_s=arrivals.segment_s,
        first_edge_s=-offset_s,
        horizon_s=horizon_s,
    )


def _burst_rate(arrivals: Bursts, horizon_s: float, rng: np.random.Generator) -> StepFunction:
    jitter_s = arrivals.period_s * arrivals.period_jitter_fraction
    low_s, high_s = arrivals.period_s - jitter_s, arrivals.period_s + jitter_s
    before_s, after_s = _residual_s(low_s, high_s, rng)
    gaps_s = rng.uniform(low_s, high_s, size=math.ceil(horizon_s / low_s))
    starts_s = np.concatenate(([-before_s], after_s + np.concatenate(([0.0], np.cumsum(gaps_s)))))
    changes_s = np.stack([starts_s, starts_s + arrivals.burst_s], axis=1).ravel()
    inside = (changes_s > 0.0) & (changes_s < horizon_s)
    edges_s = np.unique(np.concatenate(([0.0], changes_s[inside], [horizon_s])))
    # An even count of starts and ends so far means that no burst is on.
    is_burst = np.searchsorted(changes_s, edges_s[:-1], side="right") % 2 == 1
    return StepFunction(edges_s, arrivals.rate_rps + arrivals.burst_rate_rps * is_burst)


def _residual_s(low_s: float, high_s: float, rng: np.random.Generator) -> tuple[float, float]:
    """The parts before and after time 0 of a uniform gap that time 0 falls into.

    A random instant meets long gaps more often: the gap's density rises in proportion to length.
    """
    gap_s = math.sqrt(low_s**2 + rng.random() * (high_s**2 - low_s**2))
    before_s = gap_s * rng.random()
    return before_s, gap_s - before_s
