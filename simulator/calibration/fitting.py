"""Fits a profile's constants to measured loads, with intervals: the engine itself is the model.

Every load is played on the simulated engine with the lengths that were really sent. The residuals
are log(simulated / measured) of TTFT and of TPOT, means of logarithms over a load's requests. The
constants are those with the least robust sum of squares, to which the factor on attention adds its
distance from 1, the base's own, in units of PRIOR: short contexts hardly tell it.

Intervals are a bootstrap over loads, which keeps both visits to a load together: what the model
gets wrong of a load it gets wrong twice. Each resample is fitted on the residuals' slopes at the
best constants, attention drawn towards 1 give or take PRIOR, so that what the loads do not tell has
an interval that wide; deviations are widened by sqrt(n / (n - constants)), n the number of loads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import least_squares, lsq_linear

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import QuantizationTier
from simulator.calibration.closed_loop import ClosedLoop, Constants
from simulator.calibration.measured import MeasuredLoad
from simulator.records import FloatArray, IntArray
from simulator.rng import stream

# Half of the limits that a fit is held to: a residual of one counts alike for both.
TTFT_UNIT: Final = 0.10
TPOT_UNIT: Final = 0.05
# In those units; residuals beyond it pull less than their square.
SOFT_RESIDUAL: Final = 2.0
# How far attention's factor is expected from 1; two measured sources of times differ by 0.82-1.26.
PRIOR: Final = 0.5
RESAMPLES: Final = 400
LEVEL: Final = 0.95
# Bounds and steps of the constants in their units: the base profile's time of an iteration of one
# sequence for the host, its API time for the API, 1 for factors.
LOWEST, HIGHEST, STEP = 0.02, 20.0, 0.02
START_INSIDE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """A constant and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The constants.

    Attributes:
        host_s: Of every iteration.
        api_s: Of every first token.
        linear: Factors on linear layers by tier that was measured.
        attention: Factor on attention.
        loads: How many different loads were fitted.
        visits: How many visits.
    """

    host_s: Estimate
    api_s: Estimate
    linear: dict[QuantizationTier, Estimate]
    attention: Estimate
    loads: int
    visits: int

    @property
    def head(self) -> float:
        """Factor on the output projection, which tiers share: the mean of theirs."""
        factors = [each.value for each in self.linear.values()]
        return sum(factors) / len(factors)

    def constants(self, tier: QuantizationTier) -> Constants:
        """What the engine is to use for a measured tier."""
        return Constants(
            host_s=self.host_s.value,
            api_s=self.api_s.value,
            linear=self.linear[tier].value,
            head=self.head,
            attention=self.attention.value,
        )


class Fitter:
    """Residuals of measured loads under given constants.

    The constants are a vector in units: host, API, a factor per tier, attention.
    """

    def __init__(self, loops: Sequence[ClosedLoop], visits: Sequence[MeasuredLoad]) -> None:
        """Prepare.

        Args:
            loops: The engine of each source, all on one profile.
            visits: What was measured.

        Raises:
            InvalidInputError: If there are fewer loads than constants.
        """
        self._loops, self._visits = loops, visits
        self.tiers: tuple[QuantizationTier, ...] = tuple(dict.fromkeys(v.tier for v in visits))
        self.loads = sorted({(visit.source, visit.load) for visit in visits})
        count = len(self.tiers) + 3
        if len(self.loads) <= count:
            raise InvalidInputError(
                f"{len(self.loads)} loads were measured, {count} constants need more than {count}"
            )
        own = loops[0].own_constants
        self._units = np.array(
            [loops[0].least_step_s, own.api_s, *[1.0] * (len(self.tiers) + 1)], np.float64
        )
        start = np.ones(count)
        start[0] = max(own.host_s / self._units[0], START_INSIDE)
        self._start = start

    def fit(self) -> Fit:
        """The best constants and their intervals."""
        low = np.full(len(self._start), LOWEST)
        low[0] = 0.0
        solution = least_squares(
            self.residuals,
            self._start,
            jac=self.slopes,
            bounds=(low, HIGHEST),
            loss="soft_l1",
            f_scale=SOFT_RESIDUAL,
            xtol=1e-4,
            ftol=1e-5,
        )
        best = np.asarray(solution.x)
        lows, highs = self._intervals(best, low)
        estimates = [
            Estimate(float(value), float(lower), float(upper))
            for value, lower, upper in zip(
                best * self._units, lows * self._units, highs * self._units, strict=True
            )
        ]
        return Fit(
            host_s=estimates[0],
            api_s=estimates[1],
            linear=dict(zip(self.tiers, estimates[2:-1], strict=True)),
            attention=estimates[-1],
            loads=len(self.loads),
            visits=len(self._visits),
        )

    def residuals(self, scaled: FloatArray) -> FloatArray:
        """(2 x visits + 1,) float64: of every visit TTFT and TPOT, then of attention's factor.

        In units of TTFT_UNIT, TPOT_UNIT and PRIOR.
        """
        found = []
        for visit in self._visits:
            constants = self._constants(scaled, visit.tier)
            simulated = self._loops[visit.source].play(visit.sent, constants)
            found.append((simulated.log_ttft - visit.outcome.log_ttft) / TTFT_UNIT)
            tpot = simulated.log_tpot - visit.outcome.log_tpot
            found.append(tpot / TPOT_UNIT if math.isfinite(tpot) else 0.0)
        return np.concatenate([found, (scaled[-1:] - 1.0) / PRIOR])

    def slopes(self, scaled: FloatArray) -> FloatArray:
        """(2 x visits, constants) float64, by central differences wide enough to smooth ranks."""
        columns = []
        for index in range(len(scaled)):
            low, high = scaled.copy(), scaled.copy()
            low[index] = max(scaled[index] - STEP, 0.0 if index == 0 else LOWEST)
            high[index] = scaled[index] + STEP
            rise = self.residuals(high) - self.residuals(low)
            columns.append(rise / (high[index] - low[index]))
        return np.column_stack(columns)

    def _constants(self, scaled: FloatArray, tier: QuantizationTier) -> Constants:
        values = scaled * self._units
        factors = values[2:-1]
        return Constants(
            host_s=float(values[0]),
            api_s=float(values[1]),
            linear=float(factors[self.tiers.index(tier)]),
            head=float(factors.mean()),
            attention=float(values[-1]),
        )

    def _intervals(self, best: FloatArray, low: FloatArray) -> tuple[FloatArray, FloatArray]:
        residuals, slopes = self.residuals(best), self.slopes(best)
        # What the loss makes of a residual's pull, as in scipy's soft_l1.
        weights = (1.0 + (residuals / SOFT_RESIDUAL) ** 2) ** -0.25
        rows, prior = self._rows_by_load(), len(residuals) - 1
        rng = stream(0, "calibration/bootstrap")
        drawn = []
        for _ in range(RESAMPLES):
            loads = [rows[i] for i in rng.integers(len(rows), size=len(rows))]
            picks = np.concatenate([*loads, [prior]])
            pulled = residuals[picks]
            pulled[-1] += rng.standard_normal()
            moved = lsq_linear(
                slopes[picks] * weights[picks, None],
                -pulled * weights[picks],
                bounds=(low - best, HIGHEST - best),
            )
            drawn.append(moved.x)
        widen = math.sqrt(len(rows) / (len(rows) - len(best)))
        edges = np.quantile(drawn, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], axis=0)
        lows = best + widen * np.minimum(edges[0], 0.0)
        return np.maximum(lows, low), best + widen * np.maximum(edges[1], 0.0)

    def _rows_by_load(self) -> list[IntArray]:
        """The numbers of the residuals of every load."""
        of_visit = [(visit.source, visit.load) for visit in self._visits]
        return [
            np.array(
                [2 * i + part for i, key in enumerate(of_visit) if key == load for part in (0, 1)]
            )
            for load in self.loads
        ]
