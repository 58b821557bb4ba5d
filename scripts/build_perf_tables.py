"""Rebuilds simulator/data/perf/*.parquet from the operator times of aiconfigurator-core.

    uv run --extra calibrate python -m scripts.build_perf_tables           writes tables and sums
    uv run --extra calibrate python -m scripts.build_perf_tables --check   rebuilds and compares
    uv run --extra calibrate python -m scripts.build_perf_tables --own NAME
        writes NAME.parquet for NAME.json, a profile in the user's folder

Each table is in long format, in milliseconds, one row per node: the additive pieces of one
iteration of a profile's model on its GPU at tensor parallel 1 (scripts/try_left_out.py tries more).

    kind          tier        x                     y               ms
    gemm          each tier   tokens                0               linear layers of all blocks
    small         any         tokens                0               norms, activation, embedding
    lm_head       any         rows                  0               output projection
    attn_decode   any         sequences             kv tokens each  attention of one decode step
    attn_prefill  any         new tokens            prefix tokens   attention of one prefill chunk
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import itertools
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError
from server.settings import use_folders_of_environment
from simulator.hardware import build_profile, load_profile, profile_names
from simulator.hardware_files import shipped_files
from simulator.hardware_records import Profile
from simulator.profile_files import TABLE_SUFFIX, profile_path, read_profile_file, with_profile

PACKAGE: Final = "aiconfigurator-core"
COMMAND: Final = "uv run --extra calibrate python -m scripts.build_perf_tables"
PERF_DIRECTORY: Final = Path(__file__).parent.parent / "simulator" / "data" / "perf"
SUMS_FILE: Final = PERF_DIRECTORY / "SHA256SUMS"
ANY_TIER: Final = "any"

MAX_TOKENS: Final = 16_384
# Kernels change their tiling just above these sizes: the time may jump from s to s + 1.
STEPS: Final = (16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 384, 512, 768, 1_024)
LARGE_STEPS: Final = (1_280, 1_536, 1_792, 2_048, 4_096, 8_192)
SMALL_OPERATORS: Final = (
    *("embedding", "add_norm_1", "add_norm_2", "act_gate"),
    *("embedding_ar", "ar_1", "ar_2"),
)

COLUMN_TYPES: Final[dict[str, pa.DataType]] = {
    "kind": pa.string(),
    "tier": pa.string(),
    "x": pa.int32(),
    "y": pa.int32(),
    "ms": pa.float32(),
}

Row = tuple[str, str, int, int, float]
Operators = dict[str, float]


def geometric(low: int, high: int, count: int) -> list[int]:
    """At most count integers from low to high, evenly spaced in the logarithm."""
    return [int(x) for x in np.unique(np.round(np.geomspace(low, high, count)).astype(int))]


def _with_steps(nodes: Sequence[int], highest: int) -> tuple[int, ...]:
    steps = {s + after for s in STEPS + LARGE_STEPS for after in (0, 1) if s + after <= highest}
    return tuple(sorted(steps.union(nodes)))


TOKEN_NODES: Final = _with_steps([*range(1, 17), *geometric(17, MAX_TOKENS, 60)], MAX_TOKENS)
ROW_NODES: Final = _with_steps([*range(1, 9), *geometric(9, 8_192, 36)], 8_192)
BATCH_NODES: Final = tuple(geometric(1, 1_024, 21))
KV_NODES: Final = tuple(geometric(1, 65_536, 33))
NEW_NODES: Final = tuple(geometric(1, MAX_TOKENS, 43))
PREFIX_NODES: Final = (0, 1, *(2**power for power in range(7, 16)))


class Oracle:
    """Operator times in milliseconds of one profile's model with one weight precision."""

    def __init__(self, profile: Profile, kernel: str, *, gpus: int = 1) -> None:
        """Open the tables of the profile's system; the model is spread over so many GPUs."""
        engine = importlib.import_module(PACKAGE.replace("-", "_") + ".sdk.engine")
        source = profile.operators
        self._handle: Any = engine.EngineHandle.compile(
            profile.model.name,
            source.system,
            source.backend,
            backend_version=source.backend_version,
            tp_size=gpus,
            gemm_quant_mode=kernel,
            kvcache_quant_mode=profile.kv_cache,
            fmha_quant_mode=source.attention or profile.kv_cache,
        )

    def decode(self, sequences: int, kv_tokens: int) -> Operators:
        """Operators of one decode step."""
        steps = self._handle.run_static_per_op(
            batch_size=sequences, isl=kv_tokens, osl=2, mode="static_gen"
        )[1]
        return {name.removeprefix("generation_"): ms for name, ms, _, _ in steps}

    def prefill(self, new_tokens: int, prefix_tokens: int = 0) -> Operators:
        """Operators of one prefill chunk; the package counts the prefix as part of the input."""
        steps = self._handle.run_static_per_op(
            batch_size=1,
            isl=new_tokens + prefix_tokens,
            osl=1,
            prefix=prefix_tokens,
            mode="static_ctx",
        )[0]
        return {name.removeprefix("context_"): ms for name, ms, _, _ in steps}

    def gemm_ms(self, tokens: int) -> float:
        """The linear layers of all blocks; their time is the same in prefill and decode."""
        operators = self.prefill(tokens).items()
        return sum(ms for name, ms in operators if name.endswith("_gemm") and "logits" not in name)

    def small_ms(self, tokens: int) -> float:
        """Norms, activation and embedding, and the sums over GPUs, which one GPU has not."""
        operators = self.prefill(tokens)
        return sum(operators[name] for name in SMALL_OPERATORS)


def rows(profile: Profile, *, gpus: int = 1) -> Iterator[Row]:
    """All nodes of a profile's table, the model spread over so many GPUs."""
    oracles = {tier.name: Oracle(profile, tier.kernel, gpus=gpus) for tier in profile.tiers}
    for tier, tokens in itertools.product(oracles, TOKEN_NODES):
        yield "gemm", tier, tokens, 0, oracles[tier].gemm_ms(tokens)
    shared = oracles[profile.tiers[0].name]
    for tokens in TOKEN_NODES:
        yield "small", ANY_TIER, tokens, 0, shared.small_ms(tokens)
    for count in ROW_NODES:
        yield "lm_head", ANY_TIER, count, 0, shared.decode(count, 64)["logits_gemm"]
    for count, kv in itertools.product(BATCH_NODES, KV_NODES):
        yield "attn_decode", ANY_TIER, count, kv, shared.decode(count, kv)["attention"]
    for new, prefix in itertools.product(NEW_NODES, PREFIX_NODES):
        yield "attn_prefill", ANY_TIER, new, prefix, shared.prefill(new, prefix)["attention"]


def table(profile: Profile, *, gpus: int = 1) -> pa.Table:
    """A profile's table with its origin in the schema's metadata."""
    source = profile.operators
    records = [dict(zip(COLUMN_TYPES, row, strict=True)) for row in rows(profile, gpus=gpus)]
    origin: dict[bytes | str, bytes | str] = {
        "profile": profile.name,
        "model": profile.model.name,
        "origin": f"{PACKAGE}=={metadata.version(PACKAGE)}",
        "system": source.system,
        "backend": f"{source.backend} {source.backend_version}",
        "kernels": ",".join(f"{tier.name}={tier.kernel}" for tier in profile.tiers),
        "kv_cache": profile.kv_cache,
        "licence": "Apache-2.0, Copyright NVIDIA CORPORATION & AFFILIATES",
        "command": COMMAND,
    }
    return pa.Table.from_pylist(records, schema=pa.schema(COLUMN_TYPES, metadata=origin))


def built_here() -> tuple[str, ...]:
    """The profiles whose tables come from the package; scripts/fit_step_times.py makes the rest."""
    return tuple(n for n in profile_names() if load_profile(n).operators.origin == PACKAGE)


def write(directory: Path) -> None:
    """Writes one parquet file a profile and SHA256SUMS into a directory."""
    for name in built_here():
        write_table(table(load_profile(name)), directory / f"{name}.parquet")
    write_sums(directory)


def write_own(name: str) -> Path:
    """Writes the table of a user's profile beside its file and returns its path.

    Raises:
        InvalidInputError: If there is no such profile, or it takes its times from a shipped one.
    """
    use_folders_of_environment()
    path, own = profile_path(name), read_profile_file(name)
    if own is None or own.operators is None:
        raise InvalidInputError(f"{path}: need a profile that has `operators`")
    target = path.with_name(f"{name}{TABLE_SUFFIX}")
    write_table(table(build_profile(with_profile(shipped_files(), name, own), name)), target)
    return target


def write_table(content: pa.Table, path: Path) -> None:
    """Writes one profile's table, the same way for every profile."""
    pq.write_table(content, path, compression="zstd", version="2.6")


def write_sums(directory: Path) -> None:
    """Writes SHA256SUMS of the tables that are in the directory, in the order of the profiles."""
    paths = [directory / f"{name}.parquet" for name in profile_names()]
    sums = [(hashlib.sha256(p.read_bytes()).hexdigest(), p.name) for p in paths if p.exists()]
    text = "".join(f"{digest}  {name}\n" for digest, name in sums)
    (directory / SUMS_FILE.name).write_text(text, encoding="utf-8")


def differences(built: Path, shipped: Path, *, report: Callable[[str], None] = print) -> int:
    """How many shipped tables differ from the built ones in a value, a type or their origin.

    Contents are compared, not bytes: the bytes also depend on the version of pyarrow.
    """
    count = 0
    for name in built_here():
        file_name = f"{name}.parquet"
        ours, theirs = pq.read_table(built / file_name), pq.read_table(shipped / file_name)
        equal = ours.equals(theirs, check_metadata=True)
        count += not equal
        report(f"{file_name}: {len(ours)} rows, {'equal' if equal else 'DIFFERENT'}")
    return count


def main() -> int:
    """The exit status: 1 if --check found a difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="rebuild, compare, write nothing")
    parser.add_argument("--own", metavar="NAME", help="a profile in your own folder")
    arguments = parser.parse_args()
    check = arguments.check
    logging.disable(logging.CRITICAL)
    if arguments.own is not None:
        print(f"wrote {write_own(arguments.own)}")
        return 0
    if not check:
        write(PERF_DIRECTORY)
        print(SUMS_FILE.read_text(encoding="utf-8"), end="")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory))
        return min(differences(Path(directory), PERF_DIRECTORY), 1)


if __name__ == "__main__":
    sys.exit(main())
