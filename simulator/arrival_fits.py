"""Fits arrival families to counts per second: Poisson, a drifting rate, and switching rates.

Real traffic is more dispersed the longer one counts, so a fit is judged by its dispersion at
several widths. Of Poisson counts with a random rate it follows from the rate's autocovariance.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import least_squares

from llmserve_env.workloads import MMPP, NHPP, CoxLogOU
from simulator.rates import stationary_distribution
from simulator.records import FloatArray, IntArray

FIT_WIDTHS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 600, 3600)
LAGS: Final = 2_000
# Fewer stretches say too little of their variance.
MIN_STRETCHES: Final = 12
HOURS, HOUR_S, DAY_S = 24, 3_600, 86_400
MAX_EM_SECONDS: Final = 20_000
BLOCK_S: Final = 400
EM_ITERATIONS: Final = 150
EM_TOLERANCE: Final = 1e-6
SMALLEST_RATE_RPS: Final = 1e-3
SMALLEST_SHARE: Final = 1e-12
SIGMA_RANGE: Final = (0.01, 3.0)
TAU_RANGE_S: Final = (1.0, 7200.0)


def dispersion_curve(counts: IntArray) -> dict[int, float]:
    """Variance over mean at each of FIT_WIDTHS_S that fits often enough.

    Args:
        counts: (seconds,) requests in each second.
    """
    curve = {}
    for width_s in FIT_WIDTHS_S:
        stretches = len(counts) // width_s
        if stretches >= MIN_STRETCHES:
            sums = counts[: stretches * width_s].reshape(stretches, width_s).sum(axis=1)
            curve[width_s] = float(sums.var() / max(sums.mean(), SMALLEST_RATE_RPS))
    return curve


def log_ou_dispersion(arrivals: CoxLogOU, width_s: float) -> float:
    """Dispersion of a rate whose logarithm is an Ornstein-Uhlenbeck process.

    1 + 2 rate / w times the integral from 0 to w of (w - u)(exp(sigma^2 exp(-u / tau)) - 1) du: the
    second moment of a doubly stochastic Poisson process (Cox and Isham 1980, chapter 3).
    """
    lags_s = np.linspace(0.0, width_s, LAGS)
    excess = np.expm1(arrivals.sigma_log_rate**2 * np.exp(-lags_s / arrivals.tau_s))
    integral = float(np.trapezoid((width_s - lags_s) * excess, lags_s))
    return 1.0 + 2.0 * arrivals.rate_rps * integral / width_s


def mmpp_dispersion(arrivals: MMPP, width_s: float) -> float:
    """Dispersion of a rate that follows a Markov chain over steps, at a whole number of steps."""
    chain: FloatArray = np.array(arrivals.transitions)
    chain = chain / chain.sum(axis=1, keepdims=True)
    shares = stationary_distribution(arrivals.transitions)
    per_step = np.array(arrivals.rates_rps) * arrivals.step_s
    mean = float(shares @ per_step)
    steps = max(1, round(width_s / arrivals.step_s))
    ahead = per_step.copy()
    covariances = []
    for _ in range(steps):
        covariances.append(float((shares * per_step) @ ahead) - mean**2)
        ahead = chain @ ahead
    weights = 2.0 * (steps - np.arange(steps))
    weights[0] = steps
    return 1.0 + float(weights @ covariances) / (steps * mean)


def fit_log_ou(counts: IntArray) -> CoxLogOU:
    """The drifting rate whose dispersion is nearest to the counts', by logarithms."""
    curve = dispersion_curve(counts)
    rate_rps = float(counts.mean())
    widths_s = list(curve)

    def as_arrivals(logs: FloatArray) -> CoxLogOU:
        sigma, tau_s = np.exp(logs)
        return CoxLogOU(rate_rps=rate_rps, sigma_log_rate=float(sigma), tau_s=float(tau_s))

    def errors(logs: FloatArray) -> list[float]:
        arrivals = as_arrivals(logs)
        # A count of few stretches is noisy: wide stretches weigh less.
        return [
            float(np.log(log_ou_dispersion(arrivals, width_s) / max(curve[width_s], 0.1)))
            / np.sqrt(width_s) ** 0.5
            for width_s in widths_s
        ]

    bounds = np.log([SIGMA_RANGE, TAU_RANGE_S]).T
    starts = [np.log([sigma, tau_s]) for sigma in (0.2, 1.0) for tau_s in (10.0, 200.0)]
    found = [least_squares(errors, start, bounds=tuple(bounds)) for start in starts]
    return as_arrivals(min(found, key=lambda each: each.cost).x)


def fit_daily(counts: IntArray) -> NHPP:
    """The rate by the hour of the cycle that begins with the recording, times a factor per day."""
    days = len(counts) // DAY_S
    hourly = counts[: days * DAY_S].reshape(days, HOURS, HOUR_S).sum(axis=2)
    profile = hourly.mean(axis=0)
    daily = np.maximum(hourly.sum(axis=1), 1.0)
    multipliers = np.round(profile / profile.mean(), 4)
    return NHPP(
        rate_rps=float(counts[: days * DAY_S].mean()),
        multipliers=tuple(multipliers.tolist()),
        segment_s=float(HOUR_S),
        cycle_log_sigma=float(np.log(daily).std()),
    )


def fit_mmpp(counts: IntArray, states: int) -> MMPP:
    """Rates per second that switch from second to second, by expectation maximisation.

    The counts are cut into blocks that are followed side by side, which is what makes it quick; of
    a longer recording, blocks from all over it are used. Baum and Welch, as in Rabiner 1989.
    """
    blocks = _blocks(counts)
    spread = np.quantile(blocks[blocks > 0], np.linspace(0.1, 0.98, states - 1))
    rates = np.maximum.accumulate(np.concatenate(([0.05], spread)) + 0.3 * np.arange(states))
    chain = np.full((states, states), 0.1 / (states - 1))
    np.fill_diagonal(chain, 0.9)
    last = -np.inf
    for _ in range(EM_ITERATIONS):
        likelihood, rates, chain = _em_step(blocks, rates, chain)
        if likelihood - last < EM_TOLERANCE * abs(likelihood):
            break
        last = likelihood
    order = np.argsort(rates)
    rounded = np.round(chain[np.ix_(order, order)], 6)
    rounded /= rounded.sum(axis=1, keepdims=True)
    measured = float(counts.mean())
    found = MMPP(
        rates_rps=tuple(rates[order].tolist()),
        transitions=tuple(tuple(row) for row in rounded.tolist()),
    )
    modelled = float(stationary_distribution(found.transitions) @ rates[order])
    scaled = rates[order] * measured / modelled
    return found.model_copy(update={"rates_rps": tuple(np.round(scaled, 5).tolist())})


def _blocks(counts: IntArray) -> IntArray:
    """(blocks, seconds) of the counts, at most MAX_EM_SECONDS in all."""
    length = min(BLOCK_S, len(counts))
    blocks = counts[: len(counts) // length * length].reshape(-1, length)
    most = max(1, MAX_EM_SECONDS // length)
    if len(blocks) > most:
        blocks = blocks[np.linspace(0, len(blocks) - 1, most).astype(int)]
    return blocks


def _em_step(
    blocks: IntArray, rates: FloatArray, chain: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """The likelihood of these parameters, and better ones."""
    seconds, states = blocks.shape[1], len(rates)
    logs = blocks[:, :, None] * np.log(rates) - rates
    top = logs.max(axis=2, keepdims=True)
    emitted = np.exp(logs - top)
    start = stationary_distribution(tuple(tuple(row) for row in chain.tolist()))
    forward = np.empty((seconds, len(blocks), states))
    scale = np.empty((seconds, len(blocks)))
    now = start * emitted[:, 0]
    for second in range(seconds):
        if second:
            now = (forward[second - 1] @ chain) * emitted[:, second]
        scale[second] = now.sum(axis=1) + SMALLEST_SHARE
        forward[second] = now / scale[second][:, None]
    backward = np.ones((len(blocks), states))
    moved = np.zeros((states, states))
    weight, weighted = forward[-1].sum(axis=0), blocks[:, -1] @ forward[-1]
    for second in range(seconds - 1, 0, -1):
        onward = emitted[:, second] * backward / scale[second][:, None]
        moved += chain * (forward[second - 1].T @ onward)
        backward = onward @ chain.T
        shares = forward[second - 1] * backward
        weight = weight + shares.sum(axis=0)
        weighted = weighted + blocks[:, second - 1] @ shares
    likelihood = float(np.log(scale).sum() + top.sum())
    better = np.maximum(weighted / np.maximum(weight, SMALLEST_SHARE), SMALLEST_RATE_RPS)
    moved = moved + SMALLEST_SHARE
    return likelihood, better, moved / moved.sum(axis=1, keepdims=True)
