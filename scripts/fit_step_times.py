"""Makes a profile of the tiny vLLM from measured step times: table, host and API time, and the fit.

    uv run python -m scripts.fit_step_times [--profile cpu-tiny-fast]

Reads simulator/data/measured/cpu_tiny_steps.csv; writes simulator/data/perf/cpu-tiny.parquet with
SHA256SUMS, simulator/data/serving_cpu.toml and simulator/data/measured/cpu_tiny_fit.json. With
cpu-tiny-fast, the same server on another machine, the files have that name, and serving_cpu.toml
stays. The table has the form of scripts/build_perf_tables.py; its nodes beyond what was measured
hold the formula of scripts/step_time_model.py, because the engine may ask for them. The fixed part
of an iteration, mostly reading the weights, is booked with the linear layers: it cannot be told
from host time.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from agents.result_files import write_json, write_text
from scripts.build_perf_tables import (
    ANY_TIER,
    COLUMN_TYPES,
    MAX_TOKENS,
    NEW_NODES,
    PERF_DIRECTORY,
    PREFIX_NODES,
    Row,
    write_sums,
    write_table,
)
from scripts.measure_step_times import StepRow
from scripts.row_files import read_conditions_of, read_rows
from scripts.step_time_model import TERMS, Fit, fit
from scripts.tiny_deployment import FAST_PROFILE, PROFILE
from simulator.hardware import load_profile
from simulator.records import FloatArray

ROOT: Final = Path(__file__).parent.parent
MEASURED: Final = ROOT / "simulator" / "data" / "measured"
SERVING_FILE: Final = ROOT / "simulator" / "data" / "serving_cpu.toml"
COMMAND: Final = "uv run python -m scripts.fit_step_times"
MAX_ROWS: Final = 8_192
MAX_BATCH: Final = 1_024
MAX_KV_TOKENS: Final = 65_536
UNITS: Final = {
    "fixed": "ms per iteration",
    "token": "ms per token computed",
    "row": "ms per sequence that gets a token",
    "context": "ms per token in the KV caches of decoding sequences",
    "square": "ms per squared token of a prompt chunk",
    "api": "ms added to every first token",
}


def steps_file(profile: str) -> Path:
    """The rows that a profile is made of."""
    return MEASURED / f"{profile.replace('-', '_')}_steps.csv"


def fit_file(profile: str) -> Path:
    """The fit to them."""
    return MEASURED / f"{profile.replace('-', '_')}_fit.json"


def table_rows(found: Fit) -> Iterator[Row]:
    """The nodes of the profile's table; where a term is linear two nodes say all."""
    for tokens in (1, MAX_TOKENS):
        yield "gemm", "FP16", tokens, 0, found.ms("fixed") + found.ms("token") * tokens
        yield "small", ANY_TIER, tokens, 0, 0.0
    for count in (1, MAX_ROWS):
        yield "lm_head", ANY_TIER, count, 0, found.ms("row") * count
    for count in (1, MAX_BATCH):
        for kv in (1, MAX_KV_TOKENS):
            yield "attn_decode", ANY_TIER, count, kv, found.ms("context") * count * kv
    for new in NEW_NODES:
        for prefix in PREFIX_NODES:
            pairs = new * (new + 2.0 * prefix)
            yield "attn_prefill", ANY_TIER, new, prefix, found.ms("square") * pairs


def table(found: Fit, profile_name: str) -> pa.Table:
    """The profile's table with its origin in the schema's metadata."""
    profile = load_profile(profile_name)
    source = steps_file(profile_name).relative_to(ROOT)
    records = [dict(zip(COLUMN_TYPES, row, strict=True)) for row in table_rows(found)]
    origin: dict[bytes | str, bytes | str] = {
        "profile": profile.name,
        "model": profile.model.name,
        "origin": f"measured by this project, {source}",
        "system": profile.operators.system,
        "backend": f"{profile.operators.backend} {profile.operators.backend_version}",
        "kernels": ",".join(f"{tier.name}={tier.kernel}" for tier in profile.tiers),
        "kv_cache": profile.kv_cache,
        "licence": "MIT, as the project",
        "command": COMMAND if profile_name == PROFILE else f"{COMMAND} --profile {profile_name}",
    }
    return pa.Table.from_pylist(records, schema=pa.schema(COLUMN_TYPES, metadata=origin))


def summary(
    profile_name: str, rows: Sequence[StepRow], found: Fit, conditions: dict[str, Any]
) -> dict[str, Any]:
    """The fit for people and for the report: constants with intervals, residuals, conditions."""
    kinds = np.array([row.kind for row in rows])
    return {
        "profile": profile_name,
        "constants": {
            term: {
                "value": float(f"{found.values[i]:.4g}"),
                "low": float(f"{found.low[i]:.4g}"),
                "high": float(f"{found.high[i]:.4g}"),
                "unit": UNITS[term],
            }
            for i, term in enumerate(TERMS)
        },
        "residuals": {
            str(kind): _errors(found.residuals[kinds == kind]) for kind in np.unique(kinds)
        },
        "measured": {
            "sequences_at_most": max(row.sequences for row in rows),
            "new_tokens_at_most": max(row.new_tokens for row in rows),
            "context_tokens_at_most": max(row.context_tokens for row in rows),
        },
        "conditions": conditions,
    }


def _errors(residuals: FloatArray) -> dict[str, float]:
    return {
        "rows": len(residuals),
        "mean_error": round(float(residuals.mean()), 4),
        "mean_absolute_error": round(float(np.abs(residuals).mean()), 4),
        "largest_error": round(float(max(residuals, key=abs)), 4),
    }


def serving_text(text: str, facts: dict[str, Any]) -> str:
    """serving_cpu.toml with the fitted API time in place of the one that is there.

    Raises:
        ValueError: If the text has no such line.
    """
    constant, date = facts["constants"]["api"], facts["conditions"]["date"]
    line = (
        f'api_ms = {{ value = {constant["value"]}, source = "scripts.fit_step_times: '
        f'{constant["low"]} to {constant["high"]} with 95 %", date = "{date}" }}'
    )
    text, count = re.subn(r"^api_ms = .*$", line, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{SERVING_FILE.name}: api_ms stands on {count} lines, expected 1")
    return text


def main() -> int:
    """Always 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", choices=(PROFILE, FAST_PROFILE), default=PROFILE)
    name = parser.parse_args().profile
    rows = read_rows(steps_file(name), StepRow)
    found = fit(rows)
    facts = summary(name, rows, found, read_conditions_of(steps_file(name)))
    write_table(table(found, name), PERF_DIRECTORY / f"{name}.parquet")
    write_sums(PERF_DIRECTORY)
    if name == PROFILE:
        write_text(SERVING_FILE, serving_text(SERVING_FILE.read_text(encoding="utf-8"), facts))
    write_json(fit_file(name), facts)
    for term, constant in facts["constants"].items():
        interval = f"[{constant['low']}, {constant['high']}]"
        print(f"{term:8} {constant['value']:10} {interval} {constant['unit']}")
    for kind, errors in facts["residuals"].items():
        print(f"{kind:8} {errors}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
