"""What tables and pages say of a calibration: its constants, and errors by figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.calibration.results import Results
from simulator.calibration.comparing import Errors, Row, errors_of, held_out
from simulator.calibration.outcomes import FIGURES
from simulator.hardware_files import Sourced
from simulator.profile_files import ProfileFile

UNKNOWN = "-"


def constants(file: ProfileFile) -> list[tuple[str, str, Sourced[float]]]:
    """Name, unit and value of every fitted constant."""
    rows: list[tuple[str, str, Sourced[float]]] = []
    if file.host is not None:
        rows.append(("host time", "ms per iteration", file.host.iteration_ms))
        rows.append(("API time", "ms per first token", file.host.api_ms))
    for tier, factor in file.factors.linear.items():
        rows.append((f"linear layers, {tier}", "times the base", factor))
    if file.factors.head is not None:
        rows.append(("output projection", "times the base", file.factors.head))
    if file.factors.attention is not None:
        rows.append(("attention", "times the base", file.factors.attention))
    return rows


def interval(value: Sourced[float]) -> str:
    """The 95 % interval in words; a dash if there is none."""
    if value.interval is None:
        return UNKNOWN
    return f"{value.interval[0]:.4g} to {value.interval[1]:.4g}"


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """The errors of one figure, as text.

    Attributes:
        figure: What it is called.
        cells: In the order of error_head, without its first.
    """

    figure: str
    cells: tuple[str, ...]


def error_head(results: Results) -> list[str]:
    """Titles of the columns of error_rows."""
    head = [
        "simulated / measured - 1",
        "held out: mean absolute",
        "mean",
        "largest",
        "fitted: mean absolute",
    ]
    based_on = results.profile.based_on
    return [*head, f"held out, {based_on} as shipped"] if based_on else head


def error_rows(results: Results) -> list[ErrorRow]:
    """Errors by figure: on held-out visits and on fitted ones, of the profile and of its base."""
    rows = results.rows
    parts = (held_out(rows), fitted_rows(rows), held_out(results.base_rows))
    unseen, seen, before = ({e.figure: e for e in errors_of(part)} for part in parts)
    found = []
    for figure, title in FIGURES.items():
        if figure in unseen or figure in seen:
            names = ("mean_absolute", "mean", "largest")
            cells = [_percent(unseen.get(figure), name) for name in names]
            cells.append(_percent(seen.get(figure), "mean_absolute"))
            if results.profile.based_on:
                cells.append(_percent(before.get(figure), "mean_absolute"))
            found.append(ErrorRow(title, tuple(cells)))
    return found


def fitted_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows that a fit sees."""
    return tuple(row for row in rows if row.visit.role == "fit")


def _percent(errors: Errors | None, name: str) -> str:
    if errors is None:
        return UNKNOWN
    sign = "" if name == "mean_absolute" else "+"
    return f"{getattr(errors, name):{sign}.1%}"
