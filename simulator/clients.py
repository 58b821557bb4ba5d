"""Turns a population of clients into the arrival times of their requests added up."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gamma as gamma_function

from llmserve_env.workloads import ClientSuperposition
from simulator.rates import StepFunction
from simulator.records import FloatArray, IntArray

# A Weibull shape is sought in this range; it covers every coefficient of variation that
# ClientSuperposition admits.
WEIBULL_SHAPES = (0.12, 100.0)


def client_times(
    arrivals: ClientSuperposition,
    multiplier: StepFunction,
    *,
    modulation: np.random.Generator,
    placement: np.random.Generator,
) -> FloatArray:
    """Arrival times in seconds, in no order.

    Each client is a stationary renewal process on a clock of its own that runs at the client's
    rate, so the shape of its gaps is kept and the expected rate is exact from the start.
    """
    edges_s, rates_rps = _client_rates(arrivals, multiplier, modulation)
    counts = np.cumsum(rates_rps * np.diff(edges_s), axis=1)
    counts = np.concatenate((np.zeros((len(counts), 1)), counts), axis=1)
    clients, positions = _renewals(counts[:, -1], arrivals, placement)
    # All clients' clocks end to end are one rising function, so one look-up turns back all of them.
    ends = np.cumsum(counts[:, -1])
    begins = ends - counts[:, -1]
    times_s: FloatArray = np.interp(
        positions + begins[clients],
        (counts + begins[:, None]).ravel(),
        np.tile(edges_s, arrivals.clients),
    )
    return times_s


def _client_rates(
    arrivals: ClientSuperposition, multiplier: StepFunction, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Edges (segments + 1,) and rates (clients, segments) in requests per second."""
    shares = np.arange(1, arrivals.clients + 1) ** -arrivals.rate_skew
    shares *= arrivals.rate_rps / shares.sum()
    offset_s = rng.uniform(0.0, arrivals.epoch_s)
    epochs = math.ceil((offset_s + multiplier.horizon_s) / arrivals.epoch_s)
    changes_s = arrivals.epoch_s * np.arange(1, epochs) - offset_s
    edges_s = np.union1d(multiplier.edges_s, changes_s)
    sigma = arrivals.epoch_log_sigma
    factors = np.exp(sigma * rng.standard_normal((epochs, arrivals.clients)) - 0.5 * sigma**2)
    epoch = np.searchsorted(changes_s, edges_s[:-1], side="right")
    return edges_s, shares[:, None] * factors[epoch].T * multiplier.at(edges_s[:-1])


def _renewals(
    lengths: FloatArray, arrivals: ClientSuperposition, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Clients and positions of all renewals before each client's length, in mean gaps.

    Every round draws about twice what is missing, for the clients that have not come to their end.
    """
    active = np.flatnonzero(lengths > 0.0)
    reached = _first_gaps(len(active), arrivals, rng)
    clients = [active]
    positions = [reached]
    while len(active) > 0:
        going = reached < lengths[active]
        active, reached = active[going], reached[going]
        draws = np.ceil(2.0 * (lengths[active] - reached)).astype(np.int64)
        owner = np.repeat(np.arange(len(active)), draws)
        walk = np.cumsum(_gaps(len(owner), arrivals, rng))
        last = np.cumsum(draws) - 1
        before = np.concatenate(([0.0], walk[last[:-1]]))[: len(active)]
        place = walk + (reached - before)[owner]
        clients.append(active[owner])
        positions.append(place)
        reached = place[last]
    all_clients, all_positions = np.concatenate(clients), np.concatenate(positions)
    inside = all_positions < lengths[all_clients]
    return all_clients[inside], all_positions[inside]


def _gaps(count: int, arrivals: ClientSuperposition, rng: np.random.Generator) -> FloatArray:
    """Gaps with mean 1."""
    if arrivals.interarrival_family == "gamma":
        shape = arrivals.interarrival_cv**-2
        return rng.gamma(shape, 1.0 / shape, size=count)
    shape = _weibull_shape(arrivals.interarrival_cv)
    return rng.weibull(shape, size=count) / _weibull_mean(shape)


def _first_gaps(count: int, arrivals: ClientSuperposition, rng: np.random.Generator) -> FloatArray:
    """From a random instant to the next renewal: a uniform part of a length-biased gap."""
    part = rng.random(count)
    if arrivals.interarrival_family == "gamma":
        shape = arrivals.interarrival_cv**-2
        return part * rng.gamma(shape + 1.0, 1.0 / shape, size=count)
    shape = _weibull_shape(arrivals.interarrival_cv)
    biased = rng.standard_gamma(1.0 + 1.0 / shape, size=count) ** (1.0 / shape)
    return part * biased / _weibull_mean(shape)


def _weibull_mean(shape: float) -> float:
    return float(gamma_function(1.0 + 1.0 / shape))


@cache
def _weibull_shape(cv: float) -> float:
    """The shape with this coefficient of variation."""

    def excess(shape: float) -> float:
        ratio = gamma_function(1.0 + 2.0 / shape) / gamma_function(1.0 + 1.0 / shape) ** 2
        return math.log(float(ratio)) - math.log1p(cv**2)

    return float(brentq(excess, *WEIBULL_SHAPES))
