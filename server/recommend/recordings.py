"""What --trace names -> a parquet trace, imported into the report's folder if it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError
from llmserve_env.traces import FIT_SUFFIX, TRACE_PREFIX, check_trace_name, trace_file
from simulator.trace_files.card import TraceCard, read_card
from simulator.trace_files.importing import import_trace
from simulator.trace_files.source import file_sha256
from simulator.traces import REQUIRED_COLUMNS

IMPORTED: Final = "trace.parquet"
PREFIX_COLUMN: Final = "prefix_hit_tokens"


@dataclass(frozen=True, slots=True)
class Recording:
    """A trace that can be played.

    Attributes:
        path: Of the parquet file.
        sha256: Of that file's content.
        facts: What a report tells of it, as JSON can say it.
    """

    path: Path
    sha256: str
    facts: dict[str, Any]


def found_recording(named: str, out: Path) -> Recording:
    """The recording that is meant: a file of any known format, or an imported trace.

    Args:
        named: A path, NAME or trace:NAME.
        out: Where a file that is not imported yet is imported to.

    Raises:
        InvalidInputError: If there is none, it cannot be read, or it is a fit.
    """
    source = _source(named)
    if source.suffix == FIT_SUFFIX and named.startswith(TRACE_PREFIX):
        raise InvalidInputError(f"--trace {named}: a fit has no days of its own; name a recording")
    path = source if _is_native(source) else _imported(source, out / IMPORTED)
    card = read_card(path)
    digest = file_sha256(path)
    return Recording(path, digest, _facts(source, path, digest, card))


def _source(named: str) -> Path:
    path = Path(named)
    if named.startswith(TRACE_PREFIX):
        return trace_file(named.removeprefix(TRACE_PREFIX))
    if path.is_file():
        return path
    if path.is_dir():
        raise InvalidInputError(f"--trace {named}: is a folder, need a file or trace:NAME")
    if path.name == named and not path.suffix:
        check_trace_name(named)
        return trace_file(named)
    raise InvalidInputError(f"--trace {named}: no such file")


def _is_native(path: Path) -> bool:
    """Whether it is a parquet file with the columns of a trace."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        return False
    return set(REQUIRED_COLUMNS) <= set(names)


def _imported(source: Path, target: Path) -> Path:
    """The import of a file; one that is there from a run before is taken again."""
    if target.is_file():
        card = read_card(target)
        if card is not None and card.source_sha256 == file_sha256(source):
            return target
    import_trace(source, target)
    return target


def _facts(source: Path, path: Path, digest: str, card: TraceCard | None) -> dict[str, Any]:
    dropped = {} if card is None else card.dropped
    return {
        "name": source.stem if card is None else Path(card.source).stem,
        "source": source.name if card is None else card.source,
        "sha256": digest,
        "licence": "unknown" if card is None else card.licence,
        "start_utc": None if card is None else card.start_utc,
        "dropped": ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()),
        "jitter": card is not None and card.jitter is not None,
        "has_prefix_hits": PREFIX_COLUMN in pq.read_schema(path).names,
    }
