"""What a profile was held against and how far off the simulator was: the record of a card.

Cards of shipped profiles are made by scripts/validate_simulator.py and lie in data/fidelity; that
of a user's profile is part of its file.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from llmserve_env.models import QuantizationTier
from llmserve_env.workloads import NonNegative, Positive, Spec

FOLDER: Final = "fidelity"
Count = Annotated[int, Field(ge=1)]
# End to end: whole runs of a real engine. Operators: rows of the tables of operator times.
Kind = Literal["end to end", "operators"]


class Span(Spec):
    """From low to high, both included."""

    low: NonNegative
    high: NonNegative

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Metric(Spec):
    """Errors of one simulated figure against its measurements.

    Attributes:
        name: The figure.
        kind: Whether whole runs were compared, or operator times.
        against: What it was compared with.
        source: Where that comes from.
        settings: Over which settings, in words.
        n: How many were compared.
        mean_error: Mean of simulated / measured - 1.
        mean_absolute_error: Mean of its absolute value.
        largest_error: The one farthest from 0.
        gate: The mean absolute error that is allowed; None where the figure is only reported.
        is_independent: Whether nothing was fitted to these measurements, or chosen with them in
            sight.
    """

    name: str
    kind: Kind
    against: str
    source: str
    settings: str
    n: Count
    mean_error: float
    mean_absolute_error: NonNegative
    largest_error: float
    gate: Positive | None = None
    is_independent: bool = True


class ValidatedRange(Spec):
    """Where whole runs of a real engine were compared; outside of it nothing was.

    Attributes:
        tiers: Weight precisions.
        sequences: Running at once on one GPU.
        prompt_tokens: Of a request.
        context_tokens: Prompt and output of a request.
        speculation_depth: The deepest.
        prefill_decode_split: Whether split deployments were among them.
    """

    tiers: Annotated[tuple[QuantizationTier, ...], Field(min_length=1)]
    sequences: Span
    prompt_tokens: Span
    context_tokens: Span
    speculation_depth: Annotated[int, Field(ge=0)] = 0
    prefill_decode_split: bool = False


class Compared(Spec):
    """One run: what was measured or published beside what was simulated.

    Attributes:
        setting: What was run.
        measured: In the unit of its list.
        simulated: The same.
    """

    setting: str
    measured: Positive
    simulated: Positive


class Comparison(Spec):
    """All runs behind a metric, to be drawn."""

    title: str
    unit: str
    runs: Annotated[tuple[Compared, ...], Field(min_length=1)]


class Limit(Spec):
    """Something that the simulator does not know, or is not held to; the text goes on the name."""

    name: str
    text: str


class FidelityCard(Spec):
    """The card of one profile.

    Attributes:
        profile: Its name.
        environment_version: Of the engine that was compared.
        metrics: Errors by figure, those that matter most first.
        validated: Where whole runs were compared; None if none were.
        comparisons: Their runs.
        limits: What is out of range or unknown.
    """

    profile: str
    environment_version: str
    metrics: tuple[Metric, ...]
    validated: ValidatedRange | None
    comparisons: tuple[Comparison, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def line(self) -> str:
        """The fidelity of the profile in a line, as it stands beside a score."""
        runs = [each for each in self.metrics if each.kind == "end to end"]
        tables = [each for each in self.metrics if each.kind == "operators"]
        told = [
            f"{each.name} {each.mean_absolute_error:.1%} off {each.n} {each.against}"
            + ("" if each.is_independent else " (chosen with them in sight)")
            for each in runs[:2]
        ]
        if not runs:
            told.append("no end-to-end runs")
        if tables and len(told) < 2:
            errors = [each.mean_absolute_error for each in tables]
            low, high = f"{min(errors):.0%}", f"{max(errors):.0%}"
            span = low if low == high else f"{low} to {high}"
            told.append(f"operator times {span} off measured rows left out")
        return "; ".join(told)


@cache
def shipped_card(profile: str) -> FidelityCard | None:
    """The card of a shipped profile; None if it was never held against anything.

    Raises:
        ValueError: If the file is not a card.
    """
    file = resources.files("simulator").joinpath("data", FOLDER, f"{profile}.json")
    if not file.is_file():
        return None
    return FidelityCard.model_validate_json(file.read_text(encoding="utf-8"))
