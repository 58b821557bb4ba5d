"""CSV and parquet files -> rows, a batch at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import CLASS_COUNT
from simulator.trace_files.formats import Columns, Format, detect
from simulator.trace_files.rows import (
    FAILED,
    NO_COUNTS,
    NO_TIME,
    BadValueError,
    Ledger,
    Rows,
    empty_rows,
    malformed,
)
from simulator.trace_files.source import open_stream
from simulator.trace_files.values import Clock, Texts, as_texts, to_codes, to_counts, to_ids

BATCH_ROWS: Final = 65_536
# A row with the text of a prompt in a column that is not read must fit as well.
BLOCK_BYTES: Final = 4 * 1024 * 1024
FAILURES: Final = ("failure", "failed", "error", "cancelled")

Batch = dict[str, Texts]


def csv_columns(head: bytes) -> list[str]:
    """The names in the first line of a CSV file."""
    text = head.decode("utf-8-sig", errors="replace")
    return next(csv.reader(io.StringIO(text)), [])


def read_csv(path: Path, head: bytes, ledger: Ledger, wanted: str | None) -> tuple[Format, Any]:
    """The format of a CSV file, and an iterator over its rows.

    Raises:
        InvalidInputError: If it is of no known format; while iterating, naming the line.
    """
    names = csv_columns(head)
    found = _flat_format(path, names, wanted)
    return found, _csv_rows(path, found, names, ledger)


def read_parquet(path: Path, ledger: Ledger, wanted: str | None) -> tuple[Format, Any]:
    """The format of a parquet file, and an iterator over its rows.

    Raises:
        InvalidInputError: If it is unreadable or of no known format; while iterating, naming the
            row.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInputError(f"{path.name}: not a readable parquet file: {error}") from error
    found = _flat_format(path, file.schema_arrow.names, wanted)
    return found, _parquet_rows(path, file, found, ledger)


def rows_of(batch: Batch, columns: Columns, clock: Clock, ledger: Ledger) -> Rows:
    """The requests in a batch of texts by column name.

    Raises:
        BadValueError: At the first text that is not what its column needs.
    """
    time_ns, has_time = clock.to_ns(batch[columns.time], columns.time)
    prompts, has_prompt = to_counts(batch[columns.prompt], columns.prompt)
    outputs, has_output = to_counts(batch[columns.output], columns.output)
    rows = empty_rows(len(time_ns))
    rows["time_ns"], rows["prompt_tokens"], rows["output_tokens"] = time_ns, prompts, outputs
    _fill_optional(rows, batch, columns, ledger)
    failed = np.zeros(len(rows), np.bool_)
    if columns.status in batch:
        status = pc.utf8_lower(batch[columns.status])
        is_failure = pc.is_in(status, value_set=pa.array(FAILURES))
        failed = np.asarray(is_failure.fill_null(False))
    no_counts = ~failed & ~(has_prompt & has_output)
    no_time = ~failed & ~no_counts & ~has_time
    for reason, mask in ((FAILED, failed), (NO_COUNTS, no_counts), (NO_TIME, no_time)):
        ledger.drop(reason, int(mask.sum()))
    return ledger.admit(rows[~(failed | no_counts | no_time)])


def _fill_optional(rows: Rows, batch: Batch, columns: Columns, ledger: Ledger) -> None:
    if columns.priority in batch:
        classes, known = to_counts(
            batch[columns.priority], columns.priority or "", high=CLASS_COUNT - 1
        )
        if not known.all():
            raise BadValueError(int((~known).argmax()), columns.priority or "", "", "given")
        rows["priority"] = classes
        ledger.columns.add("priority")
    if columns.prefix_hit in batch:
        hits, known = to_counts(batch[columns.prefix_hit], columns.prefix_hit or "")
        rows["prefix_hit_tokens"] = np.where(known, hits, 0)
        ledger.columns.add("prefix_hit_tokens")
    if columns.session in batch:
        rows["session_id"] = to_ids(batch[columns.session])
        ledger.columns.add("session_id")
    if columns.tenant in batch:
        rows["tenant"] = to_codes(batch[columns.tenant], ledger.tenant_code)
        ledger.columns.add("tenant")


def _flat_format(path: Path, names: list[str], wanted: str | None) -> Format:
    try:
        found = detect(names, wanted=wanted)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path.name}: {error}") from error
    if found.columns is None:
        raise InvalidInputError(f"{path.name}: format {found.name!r} is JSON, and this is a table")
    twice = sorted(
        {name for name in names if names.count(name) > 1} & {*_used(found.columns, names)}
    )
    if twice:
        raise InvalidInputError(f"{path.name}: has several columns named {', '.join(twice)}")
    return found


def _used(columns: Columns, names: list[str]) -> list[str]:
    wanted = (
        *columns.required,
        columns.priority,
        columns.session,
        columns.tenant,
        columns.prefix_hit,
        columns.status,
    )
    return [name for name in wanted if name in names and name is not None]


def _csv_rows(path: Path, found: Format, names: list[str], ledger: Ledger) -> Iterator[Rows]:
    columns = _columns(found)
    used = _used(columns, names)
    options: dict[str, Any] = {
        "read_options": pcsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        "parse_options": pcsv.ParseOptions(newlines_in_values=True),
        "convert_options": pcsv.ConvertOptions(
            column_types=dict.fromkeys(used, pa.string()), include_columns=used
        ),
    }
    done = 0
    clock = Clock(found.time_unit)
    with open_stream(path) as stream:
        try:
            for record in pcsv.open_csv(stream, **options):
                batch = {name: as_texts(record.column(name)) for name in used}
                yield rows_of(batch, columns, clock, ledger)
                done += record.num_rows
        except BadValueError as error:
            where = f"line {_line_of(path, done + error.index)}"
            raise malformed(path.name, where, error) from error
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidInputError(f"{path.name}: {_plain(error)}") from error
    ledger.time_unit = clock.unit or "s"


def _parquet_rows(
    path: Path, file: pq.ParquetFile, found: Format, ledger: Ledger
) -> Iterator[Rows]:
    columns = _columns(found)
    used = _used(columns, file.schema_arrow.names)
    clock, done = Clock(found.time_unit), 0
    try:
        for record in file.iter_batches(batch_size=BATCH_ROWS, columns=used):
            batch = {name: as_texts(record.column(name)) for name in used}
            yield rows_of(batch, columns, clock, ledger)
            done += record.num_rows
    except BadValueError as error:
        raise malformed(path.name, f"row {done + error.index} from 0", error) from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InvalidInputError(f"{path.name}: {_plain(error)}") from error
    ledger.time_unit = clock.unit or "s"


def _columns(found: Format) -> Columns:
    if found.columns is None:
        raise InvalidInputError(f"format {found.name!r} has no columns")
    return found.columns


def _line_of(path: Path, row: int) -> int:
    """The line on which a row ends, from 1; texts in quotes may hold line breaks."""
    with open_stream(path) as stream:
        reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace"))
        filled = (line for line in reader if line)
        for _ in range(row + 2):  # the names come first
            next(filled, None)
        return reader.line_num


def _plain(error: Exception) -> str:
    """Arrow's message in one line; its rows count from 1, the names included."""
    text = " ".join(str(error).split())
    return text.replace("CSV parse error: Row #", "line ")[:200]
