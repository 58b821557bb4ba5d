"""The law that is fitted to measured step times of a small server, and its fit with intervals.

An iteration of B decoding sequences of mean context S, and of prompts with n new tokens each, takes

    fixed + token (B + sum n) + row (B + prompts) + context B S + square sum n^2

and a time to first token the API's share on top. The terms are those of the simulator's iteration
(docs/simulator.md): host time, linear layers, output rows, decode attention, prefill attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.optimize import least_squares

from simulator.records import FloatArray, IntArray
from simulator.rng import stream

TERMS: Final = ("fixed", "token", "row", "context", "square", "api")
RESAMPLES: Final = 400
LEVEL: Final = 0.95
# Relative residuals beyond this pull less than their square: the machine is shared.
SOFT_RESIDUAL: Final = 0.1
# Milliseconds per unit of each term, to start from and to scale by.
TYPICAL_MS: Final = np.array([10.0, 0.5, 0.3, 2e-3, 2e-4, 10.0])


class Measured(Protocol):
    """What the fit reads of a row of scripts/measure_step_times.py."""

    @property
    def kind(self) -> str:
        """decode, prefill or mixed."""

    @property
    def sequences(self) -> int:
        """That decoded."""

    @property
    def context_tokens(self) -> float:
        """Mean tokens in the KV cache of each."""

    @property
    def new_tokens(self) -> int:
        """Of the prompt that was computed."""

    @property
    def ms(self) -> float:
        """The time measured."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants in milliseconds in the order of TERMS.

    Attributes:
        values: (6,) float64.
        low: (6,) float64, lower end of the 95 % bootstrap interval over rows.
        high: (6,) float64.
        residuals: (rows,) float64, predicted over measured minus 1.
    """

    values: FloatArray
    low: FloatArray
    high: FloatArray
    residuals: FloatArray

    def ms(self, term: str) -> float:
        """The constant of a term."""
        return float(self.values[TERMS.index(term)])


def design(rows: Sequence[Measured]) -> FloatArray:
    """(rows, 6) float64, how often each term counts in a row."""
    return np.array([_terms_of(row) for row in rows], np.float64)


def fit(rows: Sequence[Measured], *, resamples: int = RESAMPLES) -> Fit:
    """The constants, none below 0, that fit the rows best in relative terms.

    Rows are resampled within their kind for the intervals, so many times.

    Raises:
        ValueError: If a kind of row is missing: its terms could not be told apart.
    """
    kinds = np.array([row.kind for row in rows])
    missing = {"decode", "prefill", "mixed"} - set(kinds.tolist())
    if missing:
        raise ValueError(f"no rows of kind {', '.join(sorted(missing))}")
    matrix, measured = design(rows), np.array([row.ms for row in rows])
    values = _solve(matrix, measured)
    rng = stream(0, "step_time_model/bootstrap")
    drawn = []
    for _ in range(resamples):
        drawn_kinds = [_resample(np.flatnonzero(kinds == kind), rng) for kind in np.unique(kinds)]
        picks = np.concatenate(drawn_kinds)
        drawn.append(_solve(matrix[picks], measured[picks], start=values))
    low, high = np.quantile(drawn, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], axis=0)
    return Fit(values, low, high, matrix @ values / measured - 1.0)


def _terms_of(row: Measured) -> tuple[float, ...]:
    batch, new = row.sequences, row.new_tokens
    prompts = int(new > 0)
    is_first_token = float(row.kind == "prefill")
    return (
        1.0,
        batch + new,
        batch + prompts,
        batch * row.context_tokens,
        float(new) ** 2,
        is_first_token,
    )


def _resample(indices: IntArray, rng: np.random.Generator) -> IntArray:
    return rng.choice(indices, size=len(indices))


def _solve(
    matrix: FloatArray, measured: FloatArray, *, start: FloatArray = TYPICAL_MS
) -> FloatArray:
    relative: FloatArray = matrix * TYPICAL_MS / measured[:, None]

    def residuals(scaled: FloatArray) -> FloatArray:
        return np.asarray(relative @ scaled - 1.0)

    def slopes(_scaled: FloatArray) -> FloatArray:
        return relative

    solution = least_squares(
        residuals,
        np.maximum(start / TYPICAL_MS, 1e-6),
        jac=slopes,
        bounds=(0.0, np.inf),
        loss="soft_l1",
        f_scale=SOFT_RESIDUAL,
    )
    return np.asarray(solution.x * TYPICAL_MS)
