"""How a real workload is kept as a fit: the record of the shipped presets and of fitted traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llmserve_env.workloads import (
    MMPP,
    NHPP,
    Acceptance,
    ClientSuperposition,
    CoxLogOU,
    Lengths,
    Poisson,
    Spec,
)

PresetArrivals = Annotated[
    Poisson | CoxLogOU | MMPP | NHPP | ClientSuperposition, Field(discriminator="family")
]


class Preset(Spec):
    """A real workload as a fit: where it comes from, its arrivals and its lengths.

    `arrivals` is left out where only lengths were recorded. `measured` means fitted to the
    requests themselves, `published` fitted to statistics that somebody else published.
    """

    description: str
    source: str
    licence: str
    confidence: Literal["measured", "published"]
    arrivals: PresetArrivals | None = None
    prompt: Lengths
    output: Lengths
    prompt_output_correlation: Annotated[float, Field(ge=-1.0, le=1.0)]
    acceptance: Acceptance
