"""Imports a large made-up trace in a process of its own; prints time and peak memory.

    uv run python -m scripts.measure_trace_import --rows 5000000

The file is CSV as Azure publishes it, with whole stretches out of order, so that sorting shows too.
Exit status: 1 if the process took more memory than `--limit-mb`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from simulator.trace_files.importing import import_trace

BLOCK_ROWS: Final = 250_000
MEAN_GAP_NS: Final = 180_000_000
START: Final = "2024-05-10"
KB_PER_MB: Final = 1024


def write_csv(path: Path, rows: int) -> None:
    """Write made-up requests; every other block of rows comes before the one above it."""
    rng = np.random.default_rng(0)
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n", encoding="utf-8")
    blocks = -(-rows // BLOCK_ROWS)
    for block in range(blocks):
        count = min(BLOCK_ROWS, rows - block * BLOCK_ROWS)
        place = block ^ 1 if block ^ 1 < blocks else block
        first = pd.Timestamp(START) + pd.Timedelta(place * BLOCK_ROWS * MEAN_GAP_NS, unit="ns")
        offsets = np.cumsum(rng.exponential(MEAN_GAP_NS, count)).astype(np.int64)
        stamps = pd.Series(first + pd.to_timedelta(offsets, unit="ns"))
        frame = pd.DataFrame(
            {
                "TIMESTAMP": stamps.dt.strftime("%Y-%m-%d %H:%M:%S.%f") + "+00:00",
                "ContextTokens": rng.integers(1, 8000, count),
                "GeneratedTokens": rng.integers(0, 800, count),
            }
        )
        frame.to_csv(path, mode="a", header=False, index=False)


def measure(source: Path, target: Path) -> dict[str, float]:
    """What an import took in this process: seconds, peak memory, rows read and kept."""
    started_s = time.perf_counter()
    card = import_trace(source, target)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": round(time.perf_counter() - started_s, 1),
        "peak_mb": round(peak_kb / KB_PER_MB),
        "rows_read": card.rows_read,
        "rows": card.rows,
        "source_mb": round(source.stat().st_size / 1e6),
    }


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--limit-mb", type=float, default=500.0)
    parser.add_argument("--import", dest="source", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.source is not None:
        print(json.dumps(measure(arguments.source, arguments.source.with_suffix(".parquet"))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.csv"
        write_csv(source, arguments.rows)
        command = [sys.executable, "-m", "scripts.measure_trace_import", "--import", str(source)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(done.stdout, end="")
    return int(json.loads(done.stdout)["peak_mb"] > arguments.limit_mb)


if __name__ == "__main__":
    sys.exit(main())
