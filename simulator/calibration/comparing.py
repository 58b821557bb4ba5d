"""Simulates measured loads and says how far off that is: by load, on average, and pass or fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.calibration.closed_loop import ClosedLoop, Constants
from simulator.calibration.measured import MeasuredLoad
from simulator.calibration.outcomes import FIGURES

# Mean absolute errors on held-out loads that are allowed: those of docs/sim_to_real.md.
GATES: Final = {"tpot_p50_ms": 0.10, "ttft_p50_ms": 0.20}

Played = Callable[[MeasuredLoad], tuple[ClosedLoop, Constants]]


@dataclass(frozen=True, slots=True)
class Row:
    """One visit, measured and simulated; figures by their names in outcomes.FIGURES."""

    visit: MeasuredLoad
    measured: Mapping[str, float]
    simulated: Mapping[str, float]

    def error(self, figure: str) -> float | None:
        """Simulated over measured, minus 1; None where either is missing."""
        if figure not in self.measured or figure not in self.simulated:
            return None
        return self.simulated[figure] / self.measured[figure] - 1.0


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one figure over visits, as fractions."""

    figure: str
    n: int
    mean: float
    mean_absolute: float
    largest: float


@dataclass(frozen=True, slots=True)
class Gate:
    """What is allowed of a figure on held-out loads, and what was reached; NaN without such."""

    figure: str
    limit: float
    reached: float

    @property
    def is_met(self) -> bool:
        """Whether the error is within the limit."""
        return self.reached < self.limit


def compare(visits: Sequence[MeasuredLoad], played: Played) -> tuple[Row, ...]:
    """Every visit beside its simulation.

    Args:
        visits: Measured.
        played: The engine and the constants on which a visit is simulated.
    """
    rows = []
    for visit in visits:
        loop, constants = played(visit)
        simulated = loop.play(visit.sent, constants, with_gaps=True)
        rows.append(Row(visit, visit.outcome.figures(), simulated.figures()))
    return tuple(rows)


def errors_of(rows: Sequence[Row]) -> tuple[Errors, ...]:
    """The errors of every figure that was measured, in the order of FIGURES."""
    found = []
    for figure in FIGURES:
        errors = [error for row in rows if (error := row.error(figure)) is not None]
        if errors:
            found.append(
                Errors(
                    figure=figure,
                    n=len(errors),
                    mean=float(np.mean(errors)),
                    mean_absolute=float(np.mean(np.abs(errors))),
                    largest=max(errors, key=abs),
                )
            )
    return tuple(found)


def held_out(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows that the fit did not see."""
    return tuple(row for row in rows if row.visit.role == "held_out")


def gates(rows: Sequence[Row]) -> tuple[Gate, ...]:
    """The verdict on the held-out rows, by figure."""
    reached = {each.figure: each.mean_absolute for each in errors_of(held_out(rows))}
    return tuple(
        Gate(name, limit, reached.get(name, float("nan"))) for name, limit in GATES.items()
    )


def verdict(found: Sequence[Gate], *, visits: int) -> str:
    """PASS or FAIL, with what was reached and what is allowed, in a line."""
    if not visits:
        return "NO VERDICT: no held-out load was measured"
    told = ", ".join(
        f"{FIGURES[gate.figure]} {gate.reached:.1%} off (allowed: below {gate.limit:.0%})"
        for gate in found
    )
    word = "PASS" if all(gate.is_met for gate in found) else "FAIL"
    return f"{word}: on {visits} held-out visits, mean absolute error of {told}"
