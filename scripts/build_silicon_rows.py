"""Extracts the runs of real engines that validation uses from aiconfigurator-core.

    uv run --extra calibrate python -m scripts.build_silicon_rows

Writes one CSV file a set of simulator/data/validation/runs.toml beside it: a closed loop of so many
concurrent requests with fixed lengths, and its mean latencies.
"""

from __future__ import annotations

import csv
import re
import sys
from importlib import resources

from scripts.run_sets import COLUMNS, rows_path, run_sets

Row = tuple[int, int, int, float, float]


def row(record: dict[str, str]) -> Row | None:
    """Lengths, concurrency and mean latencies of one record; None if it says no concurrency."""
    found = re.search(r"silicon_concurrency=(\d+)", record["silicon_data_source"])
    if found is None:
        return None
    ttft_ms, tpot_ms = float(record["silicon_ttft_ms"]), float(record["silicon_tpot_ms"])
    lengths = int(record["isl"]), int(record["osl"])
    return (*lengths, int(found[1]), round(ttft_ms, 4), round(tpot_ms, 5))


def records() -> list[dict[str, str]]:
    """All rows of the package's file."""
    source = resources.files("aiconfigurator_core").joinpath("systems", "silicon_sample.csv")
    return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


def main() -> int:
    """Zero, once the files are written."""
    known = records()
    for name, run_set in run_sets().items():
        found = [row(record) for record in known if run_set.rows.keeps(record)]
        rows = sorted(each for each in found if each is not None)
        with rows_path(name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows)
        print(f"{name}.csv: {len(rows)} rows, {len(found) - len(rows)} without concurrency")
    return 0


if __name__ == "__main__":
    sys.exit(main())
