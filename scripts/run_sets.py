"""Measured runs of real engines: which sets there are, and their rows."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, RootModel

from llmserve_env.models import QuantizationTier
from llmserve_env.workloads import Positive, Spec
from simulator.hardware_files import parse

FOLDER: Final = Path(__file__).parent.parent / "simulator" / "data" / "validation"
SETS_FILE: Final = FOLDER / "runs.toml"
COLUMNS: Final = ("input_tokens", "output_tokens", "concurrency", "ttft_ms", "tpot_ms")


class RowFilter(Spec):
    """Which rows of silicon_sample.csv make up a set; an empty quantization mode is none there."""

    model_path: str
    system: str
    backend: str
    gemm_quant_mode: str
    tp_size: Annotated[int, Field(ge=1)]

    def keeps(self, record: dict[str, str]) -> bool:
        """Whether a record of that file belongs to the set."""
        texts = ("model_path", "system", "backend", "gemm_quant_mode")
        return (
            all(record[name] == getattr(self, name) for name in texts)
            and record["mode"] == "agg"
            and float(record["tp_size"]) == self.tp_size
        )


class RunSet(Spec):
    """One set of runs.

    Attributes:
        profile: On which it is simulated.
        tier: Its weight precision there.
        engine: What was measured.
        gate: Allowed mean absolute error of the time per output token; None if only reported.
        is_independent: Whether the profile and the gate were settled before the rows were seen.
        rows: Where it comes from.
    """

    profile: str
    tier: QuantizationTier
    engine: str
    gate: Positive | None = None
    is_independent: bool = True
    rows: RowFilter


class RunSets(RootModel[dict[str, RunSet]]):
    """runs.toml; the keys name the sets' CSV files."""


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A closed loop of equal requests, as a real engine ran it."""

    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_ms: float
    tpot_ms: float


def run_sets() -> dict[str, RunSet]:
    """The sets by name, in the order of the file."""
    return parse(RunSets, SETS_FILE.read_text(encoding="utf-8"), SETS_FILE.name).root


def rows_path(name: str) -> Path:
    """Where the rows of a set lie."""
    return FOLDER / f"{name}.csv"


def measured_rows(name: str) -> list[MeasuredRow]:
    """The rows of a set."""
    with rows_path(name).open(encoding="utf-8", newline="") as file:
        return [
            MeasuredRow(
                *(int(record[column]) for column in COLUMNS[:3]),
                *(float(record[column]) for column in COLUMNS[3:]),
            )
            for record in csv.DictReader(file)
        ]
