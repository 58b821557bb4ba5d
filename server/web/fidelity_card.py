"""What the simulator was held against and how far off it was: strict reader of fidelity.json."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from llmserve_env.workloads import NonNegative, Positive, Spec

FILE_NAME: Final = "fidelity.json"


class Metric(Spec):
    """Errors of one simulated figure against its measurements.

    Attributes:
        name: The figure.
        against: What it was compared with.
        mean_error: Mean of simulated / measured - 1.
        mean_absolute_error: Mean of its absolute value.
        largest_error: The one farthest from 0.
        gate: The mean absolute error that is allowed; None where the figure is only reported.
    """

    name: str
    against: str
    mean_error: float
    mean_absolute_error: NonNegative
    largest_error: float
    gate: Positive | None = None


class Compared(Spec):
    """One run: what was measured or published beside what was simulated.

    Attributes:
        setting: Tokens of prompt and output, and how many clients or requests at once.
        measured: In the unit of its list.
        simulated: The same.
    """

    setting: str
    measured: Positive
    simulated: Positive


class Limit(Spec):
    """Something that the simulator does not know, or is not held to; the text goes on the name."""

    name: str
    text: str


class FidelityCard(Spec):
    """The card; made by scripts/validate_simulator.py together with docs/validation.md.

    Attributes:
        environment_version: Of the engine that was compared.
        metrics: Errors by figure.
        tpot_ms: Time per output token of the measured runs.
        tokens_per_s: Published maximum throughputs.
        limits: What is out of range.
    """

    environment_version: str
    metrics: tuple[Metric, ...]
    tpot_ms: tuple[Compared, ...]
    tokens_per_s: tuple[Compared, ...]
    limits: tuple[Limit, ...]


@cache
def shipped_card() -> FidelityCard:
    """The card that comes with the server.

    Raises:
        ValueError: If the file is not one.
    """
    file = resources.files("server.web").joinpath(FILE_NAME)
    return FidelityCard.model_validate_json(file.read_text(encoding="utf-8"))
