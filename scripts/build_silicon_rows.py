"""Extracts the rows of real engine runs that validation uses from aiconfigurator-core.

    uv run --extra calibrate python -m scripts.build_silicon_rows

Writes simulator/data/validation/silicon_h100_trtllm.csv: TensorRT-LLM on one H100 in bfloat16,
Llama-3.1-8B-Instruct, a closed loop of so many concurrent requests with fixed lengths.
"""

from __future__ import annotations

import csv
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Final

MODEL: Final = "meta-llama/Llama-3.1-8B-Instruct"
COLUMNS: Final = ("input_tokens", "output_tokens", "concurrency", "ttft_ms", "tpot_ms")
TARGET: Final = Path(__file__).parent.parent / "simulator/data/validation/silicon_h100_trtllm.csv"

Row = tuple[int, int, int, float, float]


def is_wanted(record: dict[str, str]) -> bool:
    """Whether a record of silicon_sample.csv is a TensorRT-LLM run at tensor parallel 1."""
    return (
        record["model_path"] == MODEL
        and record["system"] == "h100_sxm"
        and record["backend"] == "trtllm"
        and float(record["tp_size"]) == 1.0
    )


def row(record: dict[str, str]) -> Row:
    """Lengths, concurrency and mean latencies of one record.

    Raises:
        ValueError: If the record does not say its concurrency.
    """
    found = re.search(r"silicon_concurrency=(\d+)", record["silicon_data_source"])
    if found is None:
        raise ValueError(f"no concurrency in {record['silicon_data_source']!r}")
    ttft_ms, tpot_ms = float(record["silicon_ttft_ms"]), float(record["silicon_tpot_ms"])
    lengths = int(record["isl"]), int(record["osl"])
    return (*lengths, int(found[1]), round(ttft_ms, 4), round(tpot_ms, 5))


def main() -> int:
    """Zero, once the file is written."""
    source = resources.files("aiconfigurator_core").joinpath("systems", "silicon_sample.csv")
    records = csv.DictReader(source.read_text(encoding="utf-8").splitlines())
    rows = sorted(row(record) for record in records if is_wanted(record))
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{TARGET.name}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
