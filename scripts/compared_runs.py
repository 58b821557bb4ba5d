"""The measured sets of runs.toml beside their simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmserve_env.models import QuantizationTier
from scripts.run_sets import MeasuredRow, RunSet, measured_rows
from scripts.validation_runs import SHIPPED_COSTS, ClosedLoopResult, Setting, closed_loop
from simulator.deployment import StepCosts
from simulator.hardware import load_profile

MS_PER_S = 1e3


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One measured run of a set beside its simulation."""

    measured: MeasuredRow
    simulated: ClosedLoopResult

    @property
    def tpot_error(self) -> float:
        """Relative error of the time per output token."""
        return MS_PER_S * self.simulated.tpot_s / self.measured.tpot_ms - 1.0

    @property
    def ttft_error(self) -> float:
        """Relative error of the time to the first token."""
        return MS_PER_S * self.simulated.ttft_s / self.measured.ttft_ms - 1.0

    @property
    def rate_error(self) -> float:
        """Relative error of the requests per second, of a client that asks on without a pause."""
        row = self.measured
        cycle_s = (row.ttft_ms + row.tpot_ms * (row.output_tokens - 1)) / MS_PER_S
        return self.simulated.requests_per_s * cycle_s / row.concurrency - 1.0


@dataclass(frozen=True, slots=True)
class ComparedSet:
    """A set of runs, simulated.

    Attributes:
        name: Of the set.
        run_set: What it is.
        runs: Those whose requests all fit the KV pool at their full length: beyond, the order in
            which an engine admits requests decides, and engines differ in it.
        left_out: How many do not.
    """

    name: str
    run_set: RunSet
    runs: tuple[ComparedRun, ...]
    left_out: int

    @property
    def is_met(self) -> bool:
        """Whether the set's gate is; true where it has none."""
        gate = self.run_set.gate
        return gate is None or mape([run.tpot_error for run in self.runs]) < gate


def mape(errors: Sequence[float]) -> float:
    """Mean absolute relative error."""
    return float(np.mean(np.abs(errors)))


def compare_set(
    name: str,
    run_set: RunSet,
    *,
    rows: Sequence[MeasuredRow] | None = None,
    costs: StepCosts = SHIPPED_COSTS,
    pause_s: float | None = None,
) -> ComparedSet:
    """A set, simulated on its profile, each run a closed loop of equal requests.

    Args:
        name: Of the set.
        run_set: What it is.
        rows: Its rows; those of the set's file if left out.
        costs: Factors on the step times.
        pause_s: Of the clients; the profile's API time if left out.
    """
    rows = measured_rows(name) if rows is None else rows
    pool = pool_tokens(run_set.profile, run_set.tier)
    fitting = [r for r in rows if r.concurrency * (r.input_tokens + r.output_tokens) <= pool]
    runs = []
    for row in fitting:
        setting = Setting(run_set.profile, run_set.tier, row.input_tokens, row.output_tokens)
        simulated = closed_loop(setting, row.concurrency, costs=costs, pause_s=pause_s)
        runs.append(ComparedRun(row, simulated))
    return ComparedSet(name, run_set, tuple(runs), len(rows) - len(fitting))


def pool_tokens(profile_name: str, tier: QuantizationTier) -> int:
    """Tokens that the KV pool of a whole GPU holds."""
    profile = load_profile(profile_name)
    serving = profile.serving
    free = serving.memory_utilisation_fraction * profile.gpu.memory_bytes
    free -= profile.tier(tier).weight_bytes + serving.activation_bytes
    return int(free / profile.model.kv_bytes_per_token)
