"""How far off interpolation is where a measured operator time is left out; needs the raw rows.

    uv run --extra calibrate python -m scripts.measure_table_errors

Writes simulator/data/validation/table_errors.json. For every GPU profile whose times come from
aiconfigurator-core: of the measured rows of its model's own matrix shapes and attention heads, each
inner one is left out in turn and interpolated linearly between its two neighbours along the axis
that the simulator interpolates along (tokens of a matrix product, KV tokens of decode attention,
new tokens of prefill attention).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from scripts.build_perf_tables import MAX_TOKENS, PACKAGE, built_here
from simulator.hardware import load_profile
from simulator.hardware_records import Profile

TARGET: Final = Path(__file__).parent.parent / "simulator/data/validation/table_errors.json"
MAX_KV_TOKENS: Final = 65_536


def left_out_errors(x: Sequence[float], y: Sequence[float]) -> list[float]:
    """Interpolated / measured - 1 of every inner point, from its two neighbours."""
    order = np.argsort(x)
    at, time = np.asarray(x, float)[order], np.asarray(y, float)[order]
    weight = (at[1:-1] - at[:-2]) / (at[2:] - at[:-2])
    between = (1.0 - weight) * time[:-2] + weight * time[2:]
    return [float(error) for error in between / time[1:-1] - 1.0]


def linear_errors(profile: Profile) -> list[float]:
    """Of the four matrix products of a block, in every tier."""
    frame = _raw(profile, "gemm", "gemm_perf.parquet")
    found: list[float] = []
    for tier in profile.tiers:
        for columns, depth in _shapes(profile):
            rows = frame[
                (frame["gemm_dtype"] == tier.kernel)
                & (frame["n"] == columns)
                & (frame["k"] == depth)
                & (frame["m"] <= MAX_TOKENS)
            ]
            mean = rows.groupby("m")["latency"].mean()
            found += left_out_errors(list(mean.index), list(mean))
    return found


def decode_errors(profile: Profile) -> list[float]:
    """Of decode attention, along the KV tokens of every batch."""
    frame = _heads(profile, _raw(profile, "attention", "generation_attention_perf.parquet"))
    frame = frame.assign(kv=frame["isl"] + frame["step"])
    found: list[float] = []
    for _, rows in frame[frame["kv"] <= MAX_KV_TOKENS].groupby("batch_size"):
        mean = rows.groupby("kv")["latency"].mean()
        found += left_out_errors(list(mean.index), list(mean))
    return found


def prefill_errors(profile: Profile) -> list[float]:
    """Of prefill attention of one sequence without a prefix, along its tokens."""
    frame = _heads(profile, _raw(profile, "attention", "context_attention_perf.parquet"))
    rows = frame[(frame["batch_size"] == 1) & (frame["step"] == 0) & (frame["isl"] <= MAX_TOKENS)]
    mean = rows.groupby("isl")["latency"].mean()
    return left_out_errors(list(mean.index), list(mean))


def _config(profile: Profile) -> dict[str, Any]:
    name = profile.model.name.replace("/", "--") + "_config.json"
    file = resources.files("aiconfigurator_core").joinpath("model_configs", name)
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config


def _shapes(profile: Profile) -> list[tuple[int, int]]:
    """(columns, depth) of the products of a block: qkv, output, gate and up, down."""
    config = _config(profile)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    query = config["num_attention_heads"] * profile.model.head_dim
    keys = 2 * profile.model.kv_heads * profile.model.head_dim
    return [(query + keys, hidden), (hidden, query), (2 * inner, hidden), (hidden, inner)]


def _heads(profile: Profile, frame: pd.DataFrame) -> pd.DataFrame:
    wanted = {
        "num_heads": _config(profile)["num_attention_heads"],
        "num_key_value_heads": profile.model.kv_heads,
        "head_dim": profile.model.head_dim,
        "kv_cache_dtype": profile.kv_cache,
        "window_size": 0,
    }
    kept: pd.DataFrame = frame
    for column, value in wanted.items():
        kept = kept.loc[kept[column] == value]
    return kept


def _raw(profile: Profile, kind: str, file_name: str) -> pd.DataFrame:
    source = profile.operators
    parts = (source.system, kind, source.backend, source.backend_version, file_name)
    file = resources.files("aiconfigurator_core").joinpath("systems", "data", *parts)
    with file.open("rb") as stream:
        frame: pd.DataFrame = pd.read_parquet(stream)
    return frame


def _told(errors: Sequence[float]) -> dict[str, float | int]:
    return {
        "n": len(errors),
        "mean_error": round(float(np.mean(errors)), 4),
        "mean_absolute_error": round(float(np.mean(np.abs(errors))), 4),
        "largest_error": round(float(max(errors, key=lambda error: abs(error))), 4),
    }


def main() -> int:
    """Zero, once the file is written."""
    found: dict[str, Any] = {}
    for name in built_here():
        profile = load_profile(name)
        kinds = {
            "linear layers": linear_errors(profile),
            "decode attention": decode_errors(profile),
            "prefill attention": prefill_errors(profile),
        }
        found[name] = {kind: _told(errors) for kind, errors in kinds.items() if errors}
        print(name, {kind: each["mean_absolute_error"] for kind, each in found[name].items()})
    origin = f"{PACKAGE}=={metadata.version(PACKAGE)}"
    text = json.dumps({"origin": origin, "profiles": found}, indent=1)
    TARGET.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
