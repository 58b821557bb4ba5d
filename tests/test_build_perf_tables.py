import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.build_perf_tables import (
    BATCH_NODES,
    KV_NODES,
    NEW_NODES,
    PERF_DIRECTORY,
    PREFIX_NODES,
    ROW_NODES,
    SUMS_FILE,
    TOKEN_NODES,
    differences,
)

PROFILES = [
    "a100-llama3-8b",
    "h100-llama3-8b",
    "h100-llama3-8b-fp8-kv",
    "l40s-llama3-8b",
    "h200-llama3-8b",
    "b200-llama3-8b",
    "h200-llama3-70b",
    "b200-llama3-70b",
]


def shipped(profile: str) -> pa.Table:
    return pq.read_table(PERF_DIRECTORY / f"{profile}.parquet")


def test_checksums_name_every_table_and_match() -> None:
    lines = SUMS_FILE.read_text(encoding="utf-8").splitlines()
    stated = dict(reversed(line.split("  ")) for line in lines)

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in PERF_DIRECTORY.glob("*.parquet")
    }

    assert found == stated
    assert set(found) == {
        f"{profile}.parquet" for profile in [*PROFILES, "cpu-tiny", "cpu-tiny-fast"]
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_a_table_carries_its_origin_licence_and_command(profile: str) -> None:
    origin = shipped(profile).schema.metadata

    assert origin[b"origin"] == b"aiconfigurator-core==0.12.0"
    assert origin[b"licence"].startswith(b"Apache-2.0")
    assert origin[b"command"] == b"uv run --extra calibrate python -m scripts.build_perf_tables"
    assert origin[b"profile"] == profile.encode()


def test_the_kernels_behind_the_tiers_are_on_record() -> None:
    assert shipped("a100-llama3-8b").schema.metadata[b"kernels"] == (
        b"FP16=bfloat16,INT8=sq,INT4=int4_wo"
    )
    assert shipped("h100-llama3-8b").schema.metadata[b"kernels"] == b"FP16=bfloat16,INT8=fp8"
    assert shipped("h100-llama3-8b").schema.metadata[b"backend"] == b"trtllm 1.3.0rc20"


@pytest.mark.parametrize(
    ("profile", "rows"), [("a100-llama3-8b", 1_628), ("l40s-llama3-8b", 1_512)]
)
def test_a_table_holds_one_row_a_node_in_long_format(profile: str, rows: int) -> None:
    table = shipped(profile)

    assert table.column_names == ["kind", "tier", "x", "y", "ms"]
    assert len(table) == rows
    assert table.group_by(["kind", "tier", "x", "y"]).aggregate([]).num_rows == rows


def test_the_tables_stay_small_enough_to_commit() -> None:
    assert sum(path.stat().st_size for path in PERF_DIRECTORY.glob("*.parquet")) < 160_000


def test_nodes_span_the_ranges_the_engine_can_ask_for() -> None:
    assert TOKEN_NODES[:16] == tuple(range(1, 17))
    assert {128, 129, 192, 256, 257, 384, 512, 513} <= set(TOKEN_NODES)
    assert TOKEN_NODES[-1] == 16_384
    assert ROW_NODES[-1] >= 512 * 9 + 512
    assert (BATCH_NODES[0], BATCH_NODES[-1]) == (1, 1_024)
    assert (KV_NODES[0], KV_NODES[-1]) == (1, 65_536)
    assert (NEW_NODES[0], NEW_NODES[-1]) == (1, 16_384)
    assert (PREFIX_NODES[0], PREFIX_NODES[-1]) == (0, 32_768)


def test_the_check_finds_a_changed_value(tmp_path: Path) -> None:
    for path in PERF_DIRECTORY.glob("*.parquet"):
        pq.write_table(pq.read_table(path), tmp_path / path.name)
    changed = shipped("a100-llama3-8b").slice(1)
    pq.write_table(changed, tmp_path / "a100-llama3-8b.parquet")
    said: list[str] = []

    count = differences(tmp_path, PERF_DIRECTORY, report=said.append)

    assert count == 1
    assert said == [
        "a100-llama3-8b.parquet: 1627 rows, DIFFERENT",
        "h100-llama3-8b.parquet: 1512 rows, equal",
        "l40s-llama3-8b.parquet: 1512 rows, equal",
        "h100-llama3-8b-fp8-kv.parquet: 1396 rows, equal",
        "h200-llama3-8b.parquet: 1512 rows, equal",
        "b200-llama3-8b.parquet: 1628 rows, equal",
        "h200-llama3-70b.parquet: 1396 rows, equal",
        "b200-llama3-70b.parquet: 1512 rows, equal",
    ]
