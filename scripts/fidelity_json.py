"""The results of scripts/validate_simulator.py as the card that the web page shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from llmserve_env.tasks import shipped_catalogue
from scripts.validation_runs import ClosedLoopResult
from server.web.fidelity_card import Compared, FidelityCard, Limit, Metric

RUNS = "42 measured TensorRT-LLM runs, H100, bfloat16"
MAXIMA = "published TensorRT-LLM maxima, H100, fp8"
LIMIT = re.compile(r"^- \*\*(.+?)\*\*(.*?)(?=^- \*\*|\n\n|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Throughput:
    """A published maximum throughput beside the simulator's."""

    prompt_tokens: int
    output_tokens: int
    published_tps: float
    simulated_tps: float

    @property
    def error(self) -> float:
        """Relative error."""
        return self.simulated_tps / self.published_tps - 1.0


class MeasuredRun(Protocol):
    """A row of the measured runs: validate_simulator.Row."""

    @property
    def prompt_tokens(self) -> int:
        """Of a request."""

    @property
    def output_tokens(self) -> int:
        """Of a request."""

    @property
    def concurrency(self) -> int:
        """Clients."""

    @property
    def measured(self) -> ClosedLoopResult:
        """What was measured."""

    @property
    def simulated(self) -> ClosedLoopResult:
        """What was simulated."""

    def error(self, name: str) -> float:
        """Relative error of one figure of the result."""


def fidelity_card(
    runs: Sequence[MeasuredRun],
    maxima: Sequence[Throughput],
    limits: str,
    *,
    gates: tuple[float, float],
) -> FidelityCard:
    """The card.

    Args:
        runs: Measured runs, simulated.
        maxima: Published maximum throughputs, simulated.
        limits: The report's section on limits, as Markdown.
        gates: Allowed mean absolute errors of TPOT and of throughput.
    """
    return FidelityCard(
        environment_version=shipped_catalogue().environment_version,
        metrics=(
            _metric("time per output token", RUNS, [r.error("tpot_s") for r in runs], gates[0]),
            _metric("output tokens/s", MAXIMA, [row.error for row in maxima], gates[1]),
            _metric("requests/s", RUNS, [r.error("requests_per_s") for r in runs]),
            _metric("time to first token", RUNS, [r.error("ttft_s") for r in runs]),
        ),
        tpot_ms=tuple(
            Compared(
                setting=f"{r.prompt_tokens} in, {r.output_tokens} out, {r.concurrency} clients",
                measured=round(1e3 * r.measured.tpot_s, 3),
                simulated=round(1e3 * r.simulated.tpot_s, 3),
            )
            for r in runs
        ),
        tokens_per_s=tuple(
            Compared(
                setting=f"{row.prompt_tokens} in, {row.output_tokens} out",
                measured=round(row.published_tps, 1),
                simulated=round(row.simulated_tps, 1),
            )
            for row in maxima
        ),
        limits=limits_of(limits),
    )


def limits_of(markdown: str) -> tuple[Limit, ...]:
    """The bullets of a Markdown section as limits, without their marks."""
    return tuple(
        Limit(name=name, text=re.sub(r"\s+", " ", text.replace("`", "")).rstrip())
        for name, text in LIMIT.findall(markdown)
    )


def _metric(name: str, against: str, errors: Sequence[float], gate: float | None = None) -> Metric:
    return Metric(
        name=name,
        against=against,
        mean_error=round(float(np.mean(errors)), 4),
        mean_absolute_error=round(float(np.mean(np.abs(errors))), 4),
        largest_error=round(float(max(errors, key=lambda error: abs(error))), 4),
        gate=gate,
    )
