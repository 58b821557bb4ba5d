"""Turns uniform random numbers into token counts."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from llmserve_env.workloads import Constant, Lengths, LogNormal, Mixture, Quantiles, Uniform
from simulator.records import FloatArray, IntArray


def tokens(lengths: Lengths, uniforms: FloatArray) -> IntArray:
    """Token counts of at least 1, one for each number in [0, 1]: the inverse distribution."""
    match lengths:
        case Constant():
            return np.full(len(uniforms), lengths.tokens, dtype=np.int64)
        case Uniform():
            width = lengths.high - lengths.low + 1
            return np.minimum(lengths.low + (uniforms * width).astype(np.int64), lengths.high)
        case LogNormal():
            log_tokens = lengths.mu + lengths.sigma * ndtri(uniforms)
            return _rounded(
                np.exp(np.clip(log_tokens, math.log(lengths.low), math.log(lengths.high)))
            )
        case Quantiles():
            return _rounded(np.exp(np.interp(uniforms, lengths.levels, np.log(lengths.values))))
        case Mixture():
            return _mixture_tokens(lengths, uniforms)


def correlated_uniforms(
    count: int,
    *,
    correlation: float,
    first: np.random.Generator,
    second: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Two arrays of uniforms whose normal scores have this correlation (a Gaussian copula)."""
    first_normal = first.standard_normal(count)
    own_share = math.sqrt(1.0 - correlation**2)
    second_normal = correlation * first_normal + own_share * second.standard_normal(count)
    return ndtr(first_normal), ndtr(second_normal)


def _mixture_tokens(lengths: Mixture, uniforms: FloatArray) -> IntArray:
    """The part is read off the uniform, and what is left of it is again a uniform."""
    weights = np.array([part.weight for part in lengths.parts])
    bounds = np.concatenate(([0.0], np.cumsum(weights) / weights.sum()))
    bounds[-1] = 1.0
    chosen = np.minimum(np.searchsorted(bounds, uniforms, side="right"), len(weights)) - 1
    drawn = np.empty(len(uniforms), dtype=np.int64)
    for index, part in enumerate(lengths.parts):
        here = chosen == index
        low, high = bounds[index], bounds[index + 1]
        drawn[here] = tokens(part.lengths, (uniforms[here] - low) / (high - low))
    return drawn


def _rounded(values: FloatArray) -> IntArray:
    return np.rint(values).astype(np.int64)
