"""JSON Lines and JSON documents -> rows, a batch at a time; a malformed line is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from llmserve_env.errors import InvalidInputError
from simulator.trace_files.formats import Columns, Format, detect
from simulator.trace_files.json_requests import Request, ShapeError, requests_in
from simulator.trace_files.rows import BadValueError, Ledger, Rows, malformed
from simulator.trace_files.source import Container, open_lines
from simulator.trace_files.tables import rows_of
from simulator.trace_files.values import Clock, as_texts

BATCH_REQUESTS: Final = 20_000
# What has to be read at once: a document, or one line.
MAX_AT_ONCE_BYTES: Final = 256 * 1024 * 1024
MAX_BLOCKS: Final = 2_000_000
ALWAYS: Final = ("time", "prompt", "output")
BLOCKS: Final = "hash_ids"
# The fields of a Request stand where a table has columns of these names.
FIELDS: Final = Columns(
    "time",
    "prompt",
    "output",
    priority="priority",
    session="session",
    tenant="tenant",
    prefix_hit="prefix_hit",
    status="status",
)

Numbered = tuple[str, Mapping[str, Any]]


def is_json_object(text: bytes) -> bool:
    """Whether the text is all of a JSON value."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def read_json(
    path: Path, container: Container, ledger: Ledger, wanted: str | None
) -> tuple[Format, Iterator[Rows]]:
    """The format of a JSON file, and an iterator over its rows.

    Raises:
        InvalidInputError: If it is not JSON or of no known format; while iterating, naming the
            line.
    """
    objects = _documents(path) if container == "json document" else _lines(path)
    first = next(objects, None)
    if first is None:
        raise InvalidInputError(f"{path.name}: is empty")
    try:
        found = detect(list(first[1]), wanted=wanted)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path.name}: {error}") from error
    return found, _rows(path, found, chain((first,), objects), ledger)


class _Blocks:
    """Counts the leading blocks of prompts that were seen before, in the order of the file."""

    def __init__(self, block_tokens: int) -> None:
        self._seen: set[Any] = set()
        self._tokens = block_tokens
        self.is_full = False

    def hit_tokens(self, blocks: list[Any]) -> int:
        """Tokens that a cache without bounds would hold of this prompt."""
        hits = 0
        for block in blocks:
            if block not in self._seen:
                break
            hits += 1
        if len(self._seen) < MAX_BLOCKS:
            self._seen.update(blocks)
        else:
            self.is_full = True
        return hits * self._tokens


class _Batch:
    """Requests that wait to be read together, and where each was found."""

    def __init__(self, path: Path, found: Format, ledger: Ledger) -> None:
        self._path, self._ledger = path, ledger
        self._columns = _columns_of(found)
        self._clock = Clock(found.time_unit)
        self._requests: list[Request] = []
        self._places: list[str] = []

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: Request, place: str) -> None:
        self._requests.append(request)
        self._places.append(place)

    def flush(self) -> Rows:
        """The rows of all that wait; none waits then."""
        try:
            return rows_of(self._texts(), self._columns, self._clock, self._ledger)
        except BadValueError as error:
            raise malformed(self._path.name, self._places[error.index], error) from error
        finally:
            self._ledger.time_unit = self._clock.unit or "s"
            self._requests, self._places = [], []

    def _texts(self) -> dict[str, Any]:
        texts = {}
        for field in Request._fields:
            column = getattr(self._columns, field, None)
            values = [getattr(each, field) for each in self._requests]
            if column is not None and (
                field in ALWAYS or any(value is not None for value in values)
            ):
                texts[column] = as_texts(pa.array(map(_text, values), pa.string()))
        return texts


def _columns_of(found: Format) -> Columns:
    """The columns under whose names a format's fields are read; messages name them."""
    if found.columns is None:
        return FIELDS
    return replace(found.columns, prefix_hit=found.columns.prefix_hit or BLOCKS)


def _rows(path: Path, found: Format, objects: Iterator[Numbered], ledger: Ledger) -> Iterator[Rows]:
    batch = _Batch(path, found, ledger)
    blocks: _Blocks | None = None
    for place, content in objects:
        if blocks is None:
            blocks = _Blocks(found.block_tokens or int(content.get("block_size") or 1))
        try:
            for each in requests_in(found, content):
                if isinstance(each, str):
                    ledger.drop(each)
                else:
                    batch.add(_with_hits(each, blocks), place)
        except (ShapeError, AttributeError, TypeError, KeyError) as error:
            raise malformed(path.name, place, _shape_problem(error, found)) from error
        if len(batch) >= BATCH_REQUESTS:
            yield batch.flush()
    if len(batch):
        yield batch.flush()
    if blocks is not None and blocks.is_full:
        ledger.columns.discard("prefix_hit_tokens")


def _shape_problem(error: Exception, found: Format) -> str:
    if isinstance(error, ShapeError):
        return str(error)
    return f"not as format {found.name!r} says: {type(error).__name__}: {str(error)[:80]}"


def _with_hits(request: Request, blocks: _Blocks) -> Request:
    """The request with its prefix hits, where its blocks are listed."""
    if not isinstance(request.blocks, list):
        return request._replace(blocks=None)
    hits = blocks.hit_tokens(request.blocks)
    prompt = request.prompt if isinstance(request.prompt, int) else hits
    return request._replace(prefix_hit=min(hits, prompt), blocks=None)


def _text(value: Any) -> str | None:
    """The value as a table would hold it: what is neither number nor text cannot be read."""
    return value if value is None or isinstance(value, str) else json.dumps(value)[:60]


def _lines(path: Path) -> Iterator[Numbered]:
    number = 0
    with open_lines(path) as stream:
        while line := _readline(path, stream, number + 1):
            number += 1
            if line.strip():
                yield f"line {number}", _object(path, line, f"line {number}")


def _readline(path: Path, stream: Any, number: int) -> bytes:
    try:
        line: bytes = stream.readline(MAX_AT_ONCE_BYTES)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInputError(f"{path.name}: cannot be unpacked: {error}") from error
    if len(line) >= MAX_AT_ONCE_BYTES:
        raise malformed(path.name, f"line {number}", f"longer than {MAX_AT_ONCE_BYTES} bytes")
    return line


def _documents(path: Path) -> Iterator[Numbered]:
    try:
        with open_lines(path) as stream:
            text = stream.read(MAX_AT_ONCE_BYTES)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInputError(f"{path.name}: cannot be unpacked: {error}") from error
    if len(text) >= MAX_AT_ONCE_BYTES:
        raise InvalidInputError(
            f"{path.name}: a JSON document is read at once, up to {MAX_AT_ONCE_BYTES} bytes; "
            "write one object a line instead"
        )
    document = _parsed(path, text, "")
    if isinstance(document, Mapping):
        yield "document", document
        return
    for number, content in enumerate(document, start=1):
        if not isinstance(content, Mapping):
            need = f"must be an object, got {type(content).__name__}"
            raise malformed(path.name, f"item {number}", need)
        yield f"item {number}", content


def _object(path: Path, line: bytes, place: str) -> Mapping[str, Any]:
    content = _parsed(path, line.removeprefix(b"\xef\xbb\xbf"), place)
    if not isinstance(content, Mapping):
        raise malformed(path.name, place, f"must be an object, got {type(content).__name__}")
    return content


def _parsed(path: Path, text: bytes, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # Where a document is broken, its own message names the line.
        raise malformed(path.name, place or "document", f"not JSON: {error}") from error
