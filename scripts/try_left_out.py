"""What was tried and is not offered, held against measured runs; for docs/profiles.md.

    uv run --extra calibrate python -m scripts.try_left_out           prints it
    uv run --extra calibrate python -m scripts.try_left_out --write   and writes it

Trials are read from simulator/data/validation/left_out.toml, operator times and measured runs from
aiconfigurator-core. Each is a profile as a user would bring it, in a folder that is removed again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import Field, RootModel

from agents.result_files import write_text
from llmserve_env.models import QuantizationTier
from llmserve_env.workloads import Spec
from scripts.build_perf_tables import PACKAGE, table, write_table
from scripts.build_silicon_rows import records, row
from scripts.compared_runs import ComparedSet, compare_set, mape
from scripts.local_server import ROOT
from scripts.run_sets import FOLDER, MeasuredRow, RowFilter, RunSet
from scripts.write_readme_tables import filled
from simulator.hardware import build_profile
from simulator.hardware_files import (
    KvPrecision,
    ModelEntry,
    OperatorSource,
    Sourced,
    parse,
    shipped_files,
)
from simulator.hardware_records import Profile
from simulator.profile_files import (
    TABLE_SUFFIX,
    ProfileFile,
    profile_path,
    use_profiles_folder,
    with_profile,
)

PAGE: Final = ROOT / "docs" / "profiles.md"
TRIALS: Final = FOLDER / "left_out.toml"
MARK: Final = "left out"
READ: Final = "2026-11"  # when the package was


class Trial(Spec):
    """One trial.

    Attributes:
        told: What was tried, in words.
        based_on: A shipped profile; what is not said here is as there.
        engine: What was measured.
        backend_version: Of the engine whose operator times are taken.
        kernel: The weight precision.
        model: Another model than the base's.
        weight_gb: Its weights.
        kv_cache: Another precision than the base's.
        rows: The measured runs; their system and backend are also those of the operator times, and
            their tp_size is over how many GPUs the model is spread.
    """

    told: str
    based_on: str
    tier: QuantizationTier
    engine: str
    backend_version: str
    kernel: str
    model: ModelEntry | None = None
    weight_gb: Annotated[float, Field(gt=0.0)] | None = None
    kv_cache: KvPrecision | None = None
    rows: RowFilter


class Trials(RootModel[dict[str, Trial]]):
    """left_out.toml."""


def trials() -> dict[str, Trial]:
    """The trials by name, in the order of the file."""
    return parse(Trials, TRIALS.read_text(encoding="utf-8"), TRIALS.name).root


def profile_of(trial: Trial) -> ProfileFile:
    """The trial as a user's profile: what one of its GPUs holds of the model."""
    files, gpus = shipped_files(), trial.rows.tp_size
    base = files.hardware.profiles[trial.based_on]
    model = trial.model or files.models.root[base.model]
    weights = files.precision.weights[base.model][base.kernels[trial.tier]]
    whole_gb = trial.weight_gb or weights.weight_gb.value
    told = f"{TRIALS.name}, a share of {gpus}"
    heads = Sourced[int](value=model.kv_heads.value // gpus, source=told, date=READ)
    share_gb = Sourced[float](value=whole_gb / gpus, source=told, date=READ)
    return ProfileFile(
        based_on=trial.based_on,
        origin=trial.told,
        model=model.model_copy(update={"kv_heads": heads}),
        kernels={trial.tier: trial.kernel},
        weights={trial.kernel: weights.model_copy(update={"weight_gb": share_gb})},
        kv_cache=trial.kv_cache or base.kv_cache,
        operators=OperatorSource(
            origin=PACKAGE,
            system=trial.rows.system,
            backend=trial.rows.backend,
            backend_version=trial.backend_version,
        ),
    )


def built(name: str, own: ProfileFile) -> Profile:
    """The record of a trial, without its times."""
    return build_profile(with_profile(shipped_files(), name, own), name)


def measured(trial: Trial) -> list[MeasuredRow]:
    """The runs that a trial is held against."""
    found = [row(record) for record in records() if trial.rows.keeps(record)]
    return [MeasuredRow(*each) for each in sorted(each for each in found if each is not None)]


def tried(name: str, trial: Trial) -> ComparedSet:
    """A trial beside its runs; profile and table are written to the user's folder."""
    own = profile_of(trial)
    write_text(profile_path(name), own.model_dump_json(exclude_none=True))
    target = profile_path(name).with_name(f"{name}{TABLE_SUFFIX}")
    write_table(table(built(name, own), gpus=trial.rows.tp_size), target)
    run_set = RunSet(profile=name, tier=trial.tier, engine=trial.engine, rows=trial.rows)
    return compare_set(name, run_set, rows=measured(trial))


def line(trial: Trial, found: ComparedSet) -> str:
    """A row of the table."""
    tpot = [run.tpot_error for run in found.runs]
    ttft = mape([run.ttft_error for run in found.runs])
    return (
        f"| {trial.told} | {trial.engine} | {len(tpot)} | {found.left_out} | {np.mean(tpot):+.1%} "
        f"| {mape(tpot):.1%} | {max(tpot, key=abs):+.1%} | {ttft:.0%} |"
    )


def lines() -> Iterator[str]:
    """The table, a trial at a time."""
    yield "| tried | held against runs of | n | left out | TPOT mean | absolute | largest | TTFT |"
    yield "|---|---|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as scratch:
        use_profiles_folder(Path(scratch))
        try:
            for name, trial in trials().items():
                yield line(trial, tried(name, trial))
        finally:
            use_profiles_folder(None)


def main() -> int:
    """Always 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write it to {PAGE.name}")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    told = []
    for each in lines():
        print(each, flush=True)
        told.append(each)
    if arguments.write:
        write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), MARK, iter(told)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
