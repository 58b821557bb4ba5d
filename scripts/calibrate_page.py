"""Fits a profile to the kept calibration of vLLM on one core; writes docs/calibrate.md's numbers.

    uv run python -m scripts.calibrate_page

Reads docs/calibrate/, which scripts/calibrate_vllm_cpu.sh measured; no server is needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agents.result_files import write_text
from scripts.local_server import ROOT
from scripts.write_readme_tables import filled
from server.calibration.results import (
    Results,
    fit_profile,
    keep_profile,
    read_sources,
    results_of,
)
from server.calibration.telling import constants, error_head, error_rows, interval
from simulator.profile_files import use_profiles_folder

FOLDER: Final = ROOT / "docs" / "calibrate"
PAGE: Final = ROOT / "docs" / "calibrate.md"
BASE: Final = "cpu-tiny"
NAME: Final = "my-server"


def block(results: Results) -> Iterator[str]:
    """The verdict, the constants, and errors by figure."""
    requests = sum(len(row.visit.sent.prompt_tokens) for row in results.rows)
    yield (
        f"{len(results.rows)} of {len(results.sources[0].plan.visits)} visits count, {requests} "
        f"requests, measured {results.sources[0].date}. {results.verdict}."
    )
    yield from (f"- {note.partition(': ')[2]}" for note in results.notes)
    yield ""
    yield "| constant | value | 95 % interval | unit |"
    yield "|---|---|---|---|"
    for name, unit, value in constants(results.file) if results.file is not None else ():
        yield f"| {name} | {value.value:.4g} | {interval(value)} | {unit} |"
    yield ""
    head = error_head(results)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in error_rows(results):
        yield f"| {' | '.join([row.figure, *row.cells])} |"


def measured(folder: Path) -> Results:
    """A profile fitted to the folder, and held against it; no user's folder is touched."""
    sources = read_sources([folder])
    with tempfile.TemporaryDirectory() as scratch:
        use_profiles_folder(Path(scratch))
        try:
            keep_profile([], NAME, fit_profile(sources, BASE, NAME))
            return results_of(sources, NAME)
        finally:
            use_profiles_folder(None)


def main() -> int:
    """Always 0."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    lines = list(block(measured(FOLDER)))
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), "measured", iter(lines)))
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
