"""Turns a fit and what it was held against into the file of a user's profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmserve_env.models import QuantizationTier
from simulator.calibration.comparing import GATES, Row, errors_of, held_out
from simulator.calibration.fitting import Estimate, Fit
from simulator.calibration.outcomes import FIGURES, MS_PER_S
from simulator.fidelity_card import (
    Compared,
    Comparison,
    FidelityCard,
    Limit,
    Metric,
    Span,
    ValidatedRange,
)
from simulator.hardware import load_profile
from simulator.hardware_files import HostEntry, Sourced, StepFactors
from simulator.profile_files import ProfileFile

COMMAND: Final = "llmserve calibrate fit"
DIGITS: Final = 5
NOT_MEASURED: Final = "not measured: the mean of the tiers that were"
DRAWN: Final = ("ttft_p50_ms", "tpot_p50_ms")
LIMITS: Final = (
    Limit(name="Speculation, other tiers and layouts", text=" were not measured on this server."),
    Limit(name="Drift", text=": a machine that others use too is not as fast tomorrow."),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fit comes from.

    Attributes:
        base: The shipped profile that is fitted.
        server: Scheme, host and port; of several folders the servers.
        model: As the server calls it.
        date: Of the measurement, YYYY-MM-DD.
        environment_version: Of the engine that was compared.
    """

    base: str
    server: str
    model: str
    date: str
    environment_version: str


def profile_file(name: str, fit: Fit, rows: Sequence[Row], origin: Origin) -> ProfileFile:
    """The file of the profile of this name.

    Args:
        name: Of the profile.
        fit: Its constants.
        rows: All visits beside their simulation under these constants.
        origin: Where they come from.
    """
    told = f"{COMMAND}, {fit.visits} visits of {fit.loads} loads to {origin.server}"

    def sourced(estimate: Estimate, unit: float = 1.0, *, source: str = told) -> Sourced[float]:
        value, low, high = (
            float(f"{number * unit:.{DIGITS}g}")
            for number in (estimate.value, estimate.low, estimate.high)
        )
        return Sourced(value=value, source=source, date=origin.date, interval=(low, high))

    offered = load_profile(origin.base).offered
    mean = Estimate(fit.head, *_widest(list(fit.linear.values())))
    linear = {
        tier: sourced(fit.linear[tier])
        if tier in fit.linear
        else sourced(mean, source=NOT_MEASURED)
        for tier in offered
    }
    return ProfileFile(
        based_on=origin.base,
        origin=f"{origin.model} at {origin.server}, measured {origin.date}: {told}",
        host=HostEntry(
            iteration_ms=sourced(fit.host_s, MS_PER_S), api_ms=sourced(fit.api_s, MS_PER_S)
        ),
        factors=StepFactors(linear=linear, head=sourced(mean), attention=sourced(fit.attention)),
        fidelity=card(name, rows, origin),
    )


def card(name: str, rows: Sequence[Row], origin: Origin) -> FidelityCard:
    """What the profile was held against: the loads that its fit did not see."""
    unseen = held_out(rows)
    settings = ", ".join(dict.fromkeys(row.visit.name for row in unseen))
    metrics = [
        Metric(
            name=FIGURES[each.figure],
            kind="end to end",
            against="held-out visits to the server",
            source=f"{origin.server}, {origin.model}, {origin.date}",
            settings=settings,
            n=each.n,
            mean_error=each.mean,
            mean_absolute_error=each.mean_absolute,
            largest_error=each.largest,
            gate=GATES.get(each.figure),
        )
        for each in sorted(errors_of(unseen), key=lambda each: each.figure not in GATES)
    ]
    return FidelityCard(
        profile=name,
        environment_version=origin.environment_version,
        metrics=tuple(metrics),
        validated=_validated(rows),
        comparisons=tuple(
            Comparison(
                title=f"{FIGURES[figure]}, held-out visits",
                unit="ms",
                runs=tuple(
                    Compared(
                        setting=row.visit.name,
                        measured=row.measured[figure],
                        simulated=row.simulated[figure],
                    )
                    for row in unseen
                    if row.error(figure) is not None
                ),
            )
            for figure in DRAWN
            if any(row.error(figure) is not None for row in unseen)
        ),
        limits=LIMITS,
    )


def _validated(rows: Sequence[Row]) -> ValidatedRange:
    tiers: dict[QuantizationTier, Any] = dict.fromkeys(row.visit.tier for row in rows)
    prompts = [int(n) for row in rows for n in row.visit.sent.prompt_tokens]
    contexts = [
        int(n) for row in rows for n in row.visit.sent.prompt_tokens + row.visit.sent.output_tokens
    ]
    return ValidatedRange(
        tiers=tuple(tiers),
        sequences=Span(low=1, high=max(row.visit.sent.clients for row in rows)),
        prompt_tokens=Span(low=min(prompts), high=max(prompts)),
        context_tokens=Span(low=min(contexts), high=max(contexts)),
    )


def _widest(estimates: Sequence[Estimate]) -> tuple[float, float]:
    return min(each.low for each in estimates), max(each.high for each in estimates)
