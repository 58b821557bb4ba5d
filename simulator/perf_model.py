"""Turns a profile's table of measured operator times into seconds for the pieces of an iteration.

One iteration of B decoding sequences at speculation depth k, with S the sum of their KV tokens, and
of some prefill chunks takes (M = B * (k + 1) + prefill tokens):

    linear(M) + lm_head(B * (k + 1) + finishing prefills) + attn_decode(B, S / B)
        + prefill attention of the chunks + host time

Between the measured nodes times are interpolated linearly (bilinearly for attention); outside them
every method refuses. The arrays are what the compiled engine reads; the methods are the same
look-ups for readers and for the plain-Python engine.

Source: operator times of aiconfigurator-core, see data/SOURCES.md and scripts/build_perf_tables.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from llmserve_env.models import TIERS, QuantizationTier
from simulator.hardware import SECONDS_PER_MS, load_profile
from simulator.hardware_records import Profile, TimesTable
from simulator.records import FloatArray

MAX_TOKENS: Final = 16_384
ANY_TIER: Final = "any"
COLUMNS: Final = ("kind", "tier", "x", "y", "ms")
# The first and the least last node of every kind, x and y: what the engine may ask for.
REACH: Final = {
    "gemm": ((1, MAX_TOKENS), (0, 0)),
    "small": ((1, MAX_TOKENS), (0, 0)),
    "lm_head": ((1, 5_120), (0, 0)),
    "attn_decode": ((1, 512), (1, 32_768)),
    "attn_prefill": ((1, 8_192), (0, 32_768)),
}

Grid = tuple[FloatArray, FloatArray, FloatArray]  # x nodes, y nodes, seconds (x, y)
Grids = Mapping[tuple[str, str], Grid]  # by kind and tier


@dataclass(frozen=True, slots=True, eq=False)
class PerfTables:
    """Operator times of one profile in seconds.

    Attributes:
        profile: Name of the profile.
        offered: The tiers with measured times.
        linear_s: (tiers, MAX_TOKENS + 1) float64, linear layers and small operators of all blocks
            at every token count, by index in models.TIERS; NaN where a tier is not offered; 0 at 0.
        lm_head_s: (rows + 1,) float64, output projection at every row count; 0 at 0.
        attn_decode_s: (sequences + 1, kv nodes) float64, attention of one decode step at every
            batch and at the nodes of mean KV tokens per sequence; 0 at batch 0.
        kv_nodes: (kv nodes,) float64, tokens, rising from 1.
        attn_prefill_s: (new nodes, prefix nodes) float64, attention of one prefill chunk alone.
        new_nodes: (new nodes,) float64, tokens of the chunk, rising from 1.
        prefix_nodes: (prefix nodes,) float64, tokens already in the KV cache, rising from 0.
        attn_prefill_floor_s: Attention of a one-token prompt: the launch time that all chunks of
            an iteration share.
    """

    profile: str
    offered: tuple[QuantizationTier, ...]
    linear_s: FloatArray
    lm_head_s: FloatArray
    attn_decode_s: FloatArray
    kv_nodes: FloatArray
    attn_prefill_s: FloatArray
    new_nodes: FloatArray
    prefix_nodes: FloatArray
    attn_prefill_floor_s: float

    @property
    def max_decode_batch(self) -> int:
        """The largest number of sequences in one decode step."""
        return len(self.attn_decode_s) - 1

    def linear_time_s(self, tier: QuantizationTier, tokens: int) -> float:
        """Linear layers and small operators of all blocks.

        Raises:
            TierNotOfferedError: If the profile has no times for the tier.
            InvalidInputError: If tokens lies outside 0..MAX_TOKENS.
        """
        if tier not in self.offered:
            raise TierNotOfferedError(self.profile, tier, self.offered)
        _refuse_outside("tokens", tokens, 0, self.linear_s.shape[1] - 1)
        return float(self.linear_s[TIERS.index(tier), tokens])

    def lm_head_time_s(self, rows: int) -> float:
        """Output projection of so many rows, one per logit that is read.

        Raises:
            InvalidInputError: If rows lies outside the table.
        """
        _refuse_outside("rows", rows, 0, len(self.lm_head_s) - 1)
        return float(self.lm_head_s[rows])

    def attn_decode_time_s(self, batch: int, mean_kv_tokens: float) -> float:
        """Attention of one decode step of a batch with this mean KV length.

        Raises:
            InvalidInputError: If an argument lies outside the nodes.
        """
        _refuse_outside("batch", batch, 1, self.max_decode_batch)
        i, weight = _locate("mean_kv_tokens", mean_kv_tokens, self.kv_nodes)
        low, high = self.attn_decode_s[batch, i : i + 2]
        return float((1.0 - weight) * low + weight * high)

    def attn_prefill_time_s(self, new_tokens: float, prefix_tokens: float) -> float:
        """Attention of one prefill chunk in an iteration of its own.

        Raises:
            InvalidInputError: If an argument lies outside the nodes.
        """
        i, u = _locate("new_tokens", new_tokens, self.new_nodes)
        j, v = _locate("prefix_tokens", prefix_tokens, self.prefix_nodes)
        (a, b), (c, d) = self.attn_prefill_s[i : i + 2, j : j + 2]
        return float((1.0 - u) * ((1.0 - v) * a + v * b) + u * ((1.0 - v) * c + v * d))

    def iteration_prefill_attention_s(self, chunks: Iterable[tuple[int, int]]) -> float:
        """Attention of all prefill chunks (new tokens, prefix tokens) of one iteration.

        The chunks run in one launch, so the launch time, measured at a one-token prompt, is paid
        once and each chunk adds what it takes above it. Short chunks on a long prefix use another
        kernel with a smaller launch time; they add nothing rather than a negative time.
        """
        floor_s = self.attn_prefill_floor_s
        above_s = [max(self.attn_prefill_time_s(new, old) - floor_s, 0.0) for new, old in chunks]
        return floor_s + sum(above_s) if above_s else 0.0


def _refuse_outside(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise InvalidInputError(
            f"{name} = {value:g} lies outside the measured range {lowest:g} to {highest:g}"
        )


def _locate(name: str, value: float, nodes: FloatArray) -> tuple[int, float]:
    """The segment that holds the value, and where in it the value lies, in [0, 1]."""
    _refuse_outside(name, value, nodes[0], nodes[-1])
    i = min(bisect_right(nodes, value), len(nodes) - 1) - 1
    return i, float((value - nodes[i]) / (nodes[i + 1] - nodes[i]))


def load_tables(profile: str, *, int4_efficiency: float = 1.0) -> PerfTables:
    """The tables of a profile, with its factors.

    Args:
        profile: Name of a profile, as simulator.hardware.load_profile knows it.
        int4_efficiency: Divides INT4 GEMM times at and above the token count of precision.toml;
            a named uncertainty, in the range given there.

    Raises:
        InvalidInputError: If the profile is unknown, its table has not what it offers, or the
            efficiency lies outside its range.
    """
    return tables_of(load_profile(profile), int4_efficiency)


@cache
def tables_of(facts: Profile, int4_efficiency: float) -> PerfTables:
    """The same for a profile that is loaded."""
    uncertainty, times = facts.int4, facts.times
    _refuse_outside("int4_efficiency", int4_efficiency, uncertainty.low, uncertainty.high)
    grids, factors = _read_grids(facts), dict(times.linear)
    linear_s = np.full((len(TIERS), MAX_TOKENS + 1), np.nan)
    small_s = _dense(grids["small", ANY_TIER])[: MAX_TOKENS + 1, 0]
    for tier in facts.offered:
        gemm_s = _dense(grids["gemm", tier])[: MAX_TOKENS + 1, 0]
        if tier == "INT4":
            gemm_s[uncertainty.from_tokens :] /= int4_efficiency
        linear_s[TIERS.index(tier)] = (gemm_s + small_s) * factors.get(tier, 1.0)
    _, kv_nodes, _ = grids["attn_decode", ANY_TIER]
    new_nodes, prefix_nodes, attn_prefill_s = grids["attn_prefill", ANY_TIER]
    return PerfTables(
        profile=facts.name,
        offered=facts.offered,
        linear_s=_frozen(linear_s),
        lm_head_s=_frozen(_dense(grids["lm_head", ANY_TIER])[:, 0] * times.head),
        attn_decode_s=_frozen(_dense(grids["attn_decode", ANY_TIER]) * times.attention),
        kv_nodes=_frozen(kv_nodes),
        attn_prefill_s=_frozen(attn_prefill_s * times.attention),
        new_nodes=_frozen(new_nodes),
        prefix_nodes=_frozen(prefix_nodes),
        attn_prefill_floor_s=float(attn_prefill_s[0, 0] * times.attention),
    )


def _columns(times: TimesTable) -> dict[str, list[Any]]:
    # Late import: reading a profile's facts or the catalogue must not load pyarrow.
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = resources.files("simulator").joinpath("data", "perf")
    path = Path(times.path) if times.path else folder.joinpath(f"{times.shipped}.parquet")
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"{path}: not a readable parquet file") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise InvalidInputError(f"{path}: has no column {missing[0]!r}; need {', '.join(COLUMNS)}")
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def _read_grids(facts: Profile) -> Grids:
    columns = _columns(facts.times)
    kind, tier, x, y, ms = (np.asarray(columns[name]) for name in COLUMNS)
    grids = {}
    for key in sorted(set(zip(columns["kind"], columns["tier"], strict=True))):
        rows = (kind == key[0]) & (tier == key[1])
        x_nodes, y_nodes = np.unique(x[rows]), np.unique(y[rows])
        seconds = np.full((len(x_nodes), len(y_nodes)), np.nan)
        at = np.searchsorted(x_nodes, x[rows]), np.searchsorted(y_nodes, y[rows])
        seconds[at] = ms[rows] * SECONDS_PER_MS
        grids[key] = (x_nodes.astype(np.float64), y_nodes.astype(np.float64), seconds)
    _check_grids(facts, grids)
    return grids


def _check_grids(facts: Profile, grids: Grids) -> None:
    """Refuse a table that lacks times which the engine may read: a user may have brought it."""
    where = facts.times.path or facts.times.shipped
    wanted = [(kind, ANY_TIER) for kind in REACH if kind != "gemm"]
    for kind, tier in [*wanted, *(("gemm", tier) for tier in facts.offered)]:
        if (kind, tier) not in grids:
            raise InvalidInputError(f"{where}: has no rows of kind {kind!r} and tier {tier!r}")
        *nodes, seconds = grids[kind, tier]
        if not (np.isfinite(seconds).all() and (seconds >= 0.0).all()):
            raise InvalidInputError(f"{where}: {kind} of {tier}: every node needs a time >= 0 ms")
        for axis, found, (first, last) in zip("xy", nodes, REACH[kind], strict=True):
            if found[0] != first or found[-1] < last:
                raise InvalidInputError(
                    f"{where}: {kind} of {tier}: {axis} spans {found[0]:g} to {found[-1]:g}, "
                    f"need {first} to {last} at least"
                )


def _dense(grid: Grid) -> FloatArray:
    """Times at every integer x from 0 (where they are 0) to the last node, and at the y nodes."""
    x_nodes, _, seconds = grid
    wanted = np.arange(1, int(x_nodes[-1]) + 1)
    dense = [np.interp(wanted, x_nodes, column) for column in seconds.T]
    return np.vstack([np.zeros(len(dense)), np.column_stack(dense)])


def _frozen(array: FloatArray) -> FloatArray:
    contiguous = np.ascontiguousarray(array)
    contiguous.setflags(write=False)
    return contiguous
