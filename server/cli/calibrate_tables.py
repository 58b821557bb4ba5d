"""Calibrations as tables and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from rich.table import Table

from server.calibration.journal import Progress, Spent
from server.calibration.results import Results
from server.calibration.running import Budget
from server.calibration.telling import constants, error_head, error_rows, fitted_rows, interval
from simulator.calibration.comparing import errors_of, held_out
from simulator.profile_files import ProfileFile


def loads_table(progress: Progress) -> Table:
    """The loads of a plan, and how many visits to each are measured."""
    plan = progress.plan
    title = f"Plan {plan.name} for {plan.model} at {plan.server}, profile {plan.profile}"
    table = Table(title=title, title_justify="left")
    for heading in ("load", "for the", "requests", "tokens", "visits", "measured"):
        table.add_column(heading, justify="left" if heading in ("load", "for the") else "right")
    counted = progress.counted()
    for load in sorted({visit.load for visit in plan.visits}):
        places = [i for i, visit in enumerate(plan.visits) if visit.load == load]
        visits = [plan.visits[i] for i in places]
        table.add_row(
            visits[0].name,
            "fit" if visits[0].role == "fit" else "verdict",
            f"{sum(len(visit.prompt_tokens) for visit in visits):,}",
            f"{sum(visit.tokens for visit in visits):,}",
            str(len(visits)),
            str(sum(number in counted for number in places)),
        )
    return table


def cost_document(progress: Progress, cost: Spent, budget: Budget) -> dict[str, Any]:
    """What was asked and what is still to be, for JSON."""
    plan = progress.plan
    return {
        "server": plan.server,
        "model": plan.model,
        "profile": plan.profile,
        "plan": plan.name,
        "visits": len(plan.visits),
        "visits_measured": len(progress.complete),
        "visits_that_count": len(progress.counted()),
        "spent": asdict(progress.spent),
        "still_to_ask": asdict(cost),
        "budget": asdict(budget),
    }


def fit_table(name: str, file: ProfileFile) -> Table:
    """The constants of a fitted profile."""
    table = Table(title=f"Profile {name}, based on {file.based_on}", title_justify="left")
    for heading in ("constant", "value", "95 % interval", "unit"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for what, unit, value in constants(file):
        table.add_row(what, f"{value.value:.4g}", interval(value), unit)
    return table


def errors_table(results: Results) -> Table:
    """Errors by figure."""
    table = Table(title=f"Profile {results.profile.name} against the server", title_justify="left")
    first, *others = error_head(results)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    for row in error_rows(results):
        table.add_row(row.figure, *row.cells)
    return table


def results_document(results: Results) -> dict[str, Any]:
    """A profile against its measurements, for JSON."""
    file = results.file
    return {
        "profile": results.profile.name,
        "based_on": results.profile.based_on or None,
        "verdict": results.verdict,
        "is_passed": results.is_passed,
        "gates": [
            {
                "figure": gate.figure,
                "limit": gate.limit,
                "reached": None if math.isnan(gate.reached) else gate.reached,
                "is_met": gate.is_met,
            }
            for gate in results.gates
        ],
        "constants": [
            {"name": name, "unit": unit, "value": value.value, "interval": value.interval}
            for name, unit, value in (constants(file) if file is not None else ())
        ],
        "errors": {
            "held_out": [asdict(each) for each in errors_of(held_out(results.rows))],
            "fitted": [asdict(each) for each in errors_of(fitted_rows(results.rows))],
            "base_held_out": [asdict(each) for each in errors_of(held_out(results.base_rows))],
        },
        "visits": [
            {
                "load": row.visit.name,
                "role": row.visit.role,
                "tier": row.visit.tier,
                "requests": len(row.visit.sent.prompt_tokens),
                "measured": dict(row.measured),
                "simulated": dict(row.simulated),
            }
            for row in results.rows
        ],
        "notes": list(results.notes),
    }
