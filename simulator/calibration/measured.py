"""A visit to a real server as the fit and the report read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmserve_env.models import QuantizationTier
from simulator.calibration.closed_loop import ClosedLoad
from simulator.calibration.outcomes import Outcome, measured_outcome
from simulator.calibration.records import Answered, Role, Visit


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """One visit that counts.

    Attributes:
        source: Number of the server, that is of the folder, that it comes from.
        load: Number of its load; visits of equal loads share it.
        name: Of the load.
        role: Whether the fit may see it.
        tier: That was served.
        sent: Clients, and lengths in the order of sending, as the server counted tokens.
        outcome: Measured.
    """

    source: int
    load: int
    name: str
    role: Role
    tier: QuantizationTier
    sent: ClosedLoad
    outcome: Outcome


def measured_load(
    source: int, tier: QuantizationTier, visit: Visit, answers: Sequence[Answered]
) -> MeasuredLoad:
    """What a visit's answers, in the order of sending, amount to."""
    return MeasuredLoad(
        source=source,
        load=visit.load,
        name=visit.name,
        role=visit.role,
        tier=tier,
        sent=ClosedLoad(
            clients=visit.clients,
            prompt_tokens=np.array([each.prompt_tokens for each in answers], np.int64),
            output_tokens=np.array([each.output_tokens for each in answers], np.int64),
        ),
        outcome=measured_outcome(answers),
    )
