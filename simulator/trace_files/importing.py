"""Imports a recording: any known format -> one parquet trace, whole or not at all.

Rows are kept as numbers only: texts of prompts and answers are never read into anything, users and
sessions become hashes. Files may be larger than memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError
from simulator.rng import stream
from simulator.trace_files.card import CARD_KEY, UNKNOWN_LICENCE, Jitter, TraceCard
from simulator.trace_files.formats import Format
from simulator.trace_files.json_files import is_json_object, read_json
from simulator.trace_files.rows import OPTIONAL, UNKNOWN, Ledger, Rows
from simulator.trace_files.sorting import Gaps, RowSorter, spread_within_ticks
from simulator.trace_files.source import container_of, file_sha256, read_head
from simulator.trace_files.tables import read_csv, read_parquet
from simulator.trace_files.values import EPOCH_NS

MAX_ZERO_GAP_FRACTION: Final = 0.5
# A clock coarser than that is not spread further: requests may really have come together.
MAX_TICK_S: Final = 10.0
COARSE_STEP_S: Final = 0.5
REQUIRED_KINDS: Final[dict[str, pa.DataType]] = {
    "timestamp_s": pa.float64(),
    "prompt_tokens": pa.int32(),
    "output_tokens": pa.int32(),
}
KINDS: Final[dict[str, pa.DataType]] = {
    "priority": pa.int8(),
    "session_id": pa.int64(),
    "prefix_hit_tokens": pa.int32(),
    "tenant": pa.dictionary(pa.int32(), pa.string()),
}


def import_trace(
    source: Path,
    target: Path,
    *,
    format_name: str | None = None,
    licence: str = UNKNOWN_LICENCE,
    jitter_seed: int = 0,
    on_rows: Callable[[int], object] | None = None,
) -> TraceCard:
    """Write the requests of a recording to a parquet trace, and return its card.

    Times start at 0 and rise; rows of the same time keep their order. Where a coarse clock put more
    than half of the requests at the time of the one before, or is known to be coarse, times are
    spread over its tick. The target is replaced at the end, at one stroke: whoever is killed leaves
    what was there.

    Args:
        source: CSV, JSON Lines, JSON or parquet, also packed by gzip, zstd or bzip2.
        target: The trace; its folder is made if there is none.
        format_name: The format of the source; told by its columns if left out.
        licence: Of the source, kept in the card.
        jitter_seed: Seed of the spreading, kept in the card.
        on_rows: Called with the number of requests read, batch by batch.

    Raises:
        InvalidInputError: If the source cannot be read, is of no known format, holds no request, or
            has a malformed row: its line and value are named.
        OSError: If the target cannot be written.
    """
    if source.exists() and target.exists() and source.samefile(target):
        raise InvalidInputError(f"{source.name}: would be replaced by its own import; name another")
    head = read_head(source)
    digest = file_sha256(source)
    ledger = Ledger()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, not in /tmp, which may be kept in memory.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".import-") as folder:
        sorter = RowSorter(Path(folder))
        found, batches = _open(source, head, ledger, format_name)
        for rows in batches:
            sorter.add(rows)
            if on_rows is not None:
                on_rows(len(rows))
        _check_rows(source, sorter, ledger)
        card = _card(source, digest, found, ledger, sorter, licence=licence, seed=jitter_seed)
        unfinished = Path(folder) / target.name
        card = _write(unfinished, card, sorter, ledger)
        unfinished.chmod(0o644)
        unfinished.replace(target)
    return card


def _open(
    source: Path, head: bytes, ledger: Ledger, wanted: str | None
) -> tuple[Format, Iterator[Rows]]:
    container = container_of(head, is_one_line_json=is_json_object)
    if container == "parquet":
        return read_parquet(source, ledger, wanted)
    if container == "csv":
        return read_csv(source, head, ledger, wanted)
    return read_json(source, container, ledger, wanted)


def _check_rows(source: Path, sorter: RowSorter, ledger: Ledger) -> None:
    if sorter.count == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in ledger.dropped.items())
        raise InvalidInputError(
            f"{source.name}: holds no request; left out: {reasons or 'nothing was there'}"
        )


def _card(
    source: Path,
    digest: str,
    found: Format,
    ledger: Ledger,
    sorter: RowSorter,
    *,
    licence: str,
    seed: int,
) -> TraceCard:
    first_ns = sorter.first_ns or 0
    gaps = sorter.gaps()
    tick_s = _tick_s(found, gaps)
    start = datetime.fromtimestamp(first_ns / 1e9, UTC).isoformat() if first_ns > EPOCH_NS else None
    return TraceCard(
        source=source.name,
        source_sha256=digest,
        source_format=found.name,
        time_unit=ledger.time_unit,
        start_utc=start,
        rows_read=ledger.read,
        rows=sorter.count,
        dropped=dict(ledger.dropped),
        duration_s=0.0,
        zero_gap_fraction=gaps.zero_fraction,
        jitter=None if tick_s is None else Jitter(tick_s=tick_s, seed=seed),
        licence=licence,
    )


def _tick_s(found: Format, gaps: Gaps) -> float | None:
    """The tick over which times are spread; None if they are not."""
    if gaps.zero_fraction <= MAX_ZERO_GAP_FRACTION and found.tick_s is None:
        return None
    tick_s = min(gaps.short_s or MAX_TICK_S, found.tick_s or MAX_TICK_S)
    # Few requests far apart: their clock may be finer than the gaps between them.
    is_coarse = gaps.step_s is not None and gaps.step_s >= COARSE_STEP_S
    return min(tick_s, gaps.step_s) if is_coarse and gaps.step_s else tick_s


def _write(path: Path, card: TraceCard, sorter: RowSorter, ledger: Ledger) -> TraceCard:
    """Write card and rows; the card with the duration, which goes into the schema first."""
    optional = [name for name in OPTIONAL if name in ledger.columns]
    duration_s = _last_s(card, sorter)
    card = card.model_copy(update={"duration_s": duration_s})
    metadata: dict[bytes | str, bytes | str] = {CARD_KEY: card.model_dump_json().encode()}
    kinds = REQUIRED_KINDS | {name: KINDS[name] for name in optional}
    schema = pa.schema(list(kinds.items()), metadata=metadata)
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for seconds, rows in _spread(card, sorter):
                columns = {"timestamp_s": seconds}
                columns |= {name: rows[name] for name in ("prompt_tokens", "output_tokens")}
                columns |= {name: _optional(rows, name, ledger) for name in optional}
                writer.write_table(pa.table(columns, schema=schema))
        file.flush()
        os.fsync(file.fileno())
    return card


def _spread(card: TraceCard, sorter: RowSorter) -> Iterator[tuple[Any, Rows]]:
    """Seconds from the first request on, and the rows, stretch by stretch."""
    tick_s = None if card.jitter is None else card.jitter.tick_s
    rng = stream(0 if card.jitter is None else card.jitter.seed, "trace jitter")
    origin_s: float | None = None
    first_ns = sorter.first_ns or 0
    for rows, next_ns in sorter.sorted_rows():
        seconds, ordered = spread_within_ticks(
            rows, first_ns=first_ns, next_ns=next_ns, tick_s=tick_s, rng=rng
        )
        if origin_s is None and len(seconds):
            origin_s = float(seconds[0])
        yield seconds - (origin_s or 0.0), ordered


def _last_s(card: TraceCard, sorter: RowSorter) -> float:
    last_s = 0.0
    for seconds, _ in _spread(card, sorter):
        last_s = float(seconds[-1]) if len(seconds) else last_s
    return last_s


def _optional(rows: Rows, name: str, ledger: Ledger) -> Any:
    """The column as parquet keeps it; what is unknown is missing."""
    values = np.ascontiguousarray(rows[name])
    unknown = values == UNKNOWN
    if name == "priority" and unknown.any():
        raise InvalidInputError("priority is given in some rows and missing in others")
    if name != "tenant":
        return pa.array(values, KINDS[name], mask=unknown)
    names = sorted(ledger.tenants, key=ledger.tenants.__getitem__)
    codes = pa.array(values, pa.int32(), mask=unknown)
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))
