"""Turns an arrival family and a rate multiplier into arrival times."""

from __future__ import annotations

import numpy as np

from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import MMPP, NHPP, Bursts, ClientSuperposition, CoxLogOU, Poisson
from simulator.clients import client_times
from simulator.rates import RateFamily, StepFunction, rate_function, stationary_distribution
from simulator.records import FloatArray

MAX_EXPECTED_REQUESTS = 5_000_000

GeneratedFamily = RateFamily | ClientSuperposition


def mean_rate_rps(arrivals: GeneratedFamily) -> float:
    """The long-run mean rate of a family, in requests per second."""
    match arrivals:
        case Poisson() | CoxLogOU() | ClientSuperposition():
            return arrivals.rate_rps
        case MMPP():
            return float(stationary_distribution(arrivals.transitions) @ arrivals.rates_rps)
        case NHPP():
            return arrivals.rate_rps * float(np.mean(arrivals.multipliers))
        case Bursts():
            return (
                arrivals.rate_rps + arrivals.burst_rate_rps * arrivals.burst_s / arrivals.period_s
            )


def arrival_times(
    arrivals: GeneratedFamily,
    multiplier: StepFunction,
    *,
    modulation: np.random.Generator,
    placement: np.random.Generator,
) -> FloatArray:
    """Arrival times in seconds, rising, in [0, horizon of the multiplier).

    Args:
        arrivals: Any family but a replay.
        multiplier: Factor on the rate over the episode: regime times load level.
        modulation: Draws the rate.
        placement: Draws the arrivals given the rate.

    Raises:
        InvalidInputError: If more than MAX_EXPECTED_REQUESTS would be expected.
    """
    expected = mean_rate_rps(arrivals) * float(multiplier.cumulative()[-1])
    if expected > MAX_EXPECTED_REQUESTS:
        raise InvalidInputError(
            f"the {arrivals.family} arrivals expect {expected:.3g} requests in the episode; "
            f"at most {MAX_EXPECTED_REQUESTS} are generated"
        )
    if isinstance(arrivals, ClientSuperposition):
        times_s = client_times(arrivals, multiplier, modulation=modulation, placement=placement)
    else:
        rate = rate_function(arrivals, horizon_s=multiplier.horizon_s, rng=modulation)
        times_s = _poisson_times(rate.times(multiplier), placement)
    times_s.sort()
    # Interpolation may round up to the horizon, which belongs to the next episode.
    return np.minimum(times_s, np.nextafter(multiplier.horizon_s, 0.0))


def _poisson_times(rate: StepFunction, rng: np.random.Generator) -> FloatArray:
    """A Poisson count of points, uniform on the clock on which the rate is 1, turned back."""
    cumulative = rate.cumulative()
    positions = rng.random(rng.poisson(cumulative[-1])) * cumulative[-1]
    times_s: FloatArray = np.interp(positions, cumulative, rate.edges_s)
    return times_s
