"""Fits generators to recordings and writes how near they come: docs/trace_fits.md.

    uv run python -m scripts.check_trace_fits azure_conv=FILE.parquet azure_code=FILE.parquet

Recordings are not part of the project; their licences stand in the parquet files or with whoever
published them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.progress import track

from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from server.cli.trace_tables import number
from simulator.trace_fit import FitReport, fit_trace
from simulator.traces import read_trace

PAGE: Final = Path(__file__).parents[1] / "docs" / "trace_fits.md"
HEAD: Final = """# Fitted generators beside their traces

Written by `python -m scripts.check_trace_fits`, which fits as `llmserve trace fit` does: every
family is fitted to the requests per second, and the one is kept whose runs come nearest in
dispersion (variance over mean of the counts, 1 for a Poisson process) and in the counts
themselves; lengths are tables of 29 quantiles with a Gaussian copula between prompt and output.
Each fit is run as often as its head says, as long as the trace; 5 % and 95 % are over these runs,
so a trace between them is one the fit could have drawn. The recordings are training slices of
public traces; their sources are in `simulator/data/SOURCES.md`.
"""


def section(name: str, report: FitReport) -> str:
    """The table of one trace."""
    rows = [
        f"| {row.quantity} | {number(row.trace)} | {number(row.fit)} | {number(row.low)} | "
        f"{number(row.high)} | {row.fit / row.trace - 1.0:+.0%} |"
        for row in report.check
    ]
    tried = ", ".join(f"`{each.label}` {each.error:.3f}" for each in report.candidates)
    arrivals = report.preset.arrivals
    return "\n".join(
        [
            f"\n## {name}: {report.candidates[0].label}, {report.runs} runs\n",
            "| | trace | fit, mean | 5 % | 95 % | fit to trace |",
            "|---|---|---|---|---|---|",
            *rows,
            f"\nErrors of the families: {tried}.\n",
            f"Arrivals: `{arrivals.model_dump_json() if arrivals else None}`",
            "",
        ]
    )


def page(recordings: Sequence[str]) -> str:
    """The page about recordings given as NAME=FILE.

    Raises:
        InvalidInputError: If one is given otherwise, or its file is no trace.
    """
    parts = [HEAD]
    for given in track(recordings, "traces"):
        name, equals, path = given.partition("=")
        if not equals:
            raise InvalidInputError(f"need NAME=FILE.parquet, got {given!r}")
        report = fit_trace(read_trace(Path(path)), source=name, licence="as published")
        parts.append(section(name, report))
    return "".join(parts)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", nargs="+", metavar="NAME=FILE.parquet")
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    write_text(arguments.out, page(arguments.recordings))


if __name__ == "__main__":
    main()
