"""A file's bytes: opened as they are or unpacked, hashed, sniffed."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError

HEAD_BYTES: Final = 64 * 1024
READ_BYTES: Final = 1024 * 1024
ROW_BYTES: Final = 16
PACKED: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
PARQUET_MAGIC: Final = b"PAR1"
ARCHIVES: Final = {b"PK\x03\x04": "zip archive", b"7z\xbc\xaf": "7z archive"}
TAR_MAGIC_AT: Final = 257

Container = Literal["parquet", "csv", "json lines", "json document"]


def file_sha256(path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """The SHA-256 of the file as it lies there.

    Args:
        path: The file.
        on_bytes: Called with the size of every piece that was read.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
                if on_bytes is not None:
                    on_bytes(len(piece))
    except OSError as error:
        raise InvalidInputError(f"{path.name}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def open_stream(path: Path) -> Any:
    """The file's content as a stream of bytes, unpacked if it is packed by gzip, zstd or bzip2.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        packed: Any = next(
            (kind for start, kind in PACKED.items() if magic.startswith(start)), None
        )
        return pa.input_stream(str(path), compression=packed, buffer_size=READ_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInputError(f"{path.name}: cannot be read: {reason}") from error


def open_lines(path: Path) -> io.BufferedReader:
    """The same as a stream that is read line by line.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    return io.BufferedReader(open_stream(path), READ_BYTES)


def read_head(path: Path) -> bytes:
    """The first bytes of the content.

    Raises:
        InvalidInputError: If it is empty, binary or an archive, or cannot be unpacked.
    """
    if path.is_dir():
        raise InvalidInputError(f"{path.name}: is a folder; give one file")
    with open_stream(path) as stream:
        try:
            head: bytes = stream.read(HEAD_BYTES)
        except (OSError, pa.ArrowInvalid) as error:
            raise InvalidInputError(f"{path.name}: cannot be unpacked: {error}") from error
    if not head.strip():
        raise InvalidInputError(f"{path.name}: is empty")
    archive = next((kind for start, kind in ARCHIVES.items() if head.startswith(start)), None)
    if head[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        archive = "tar archive"
    if archive is not None:
        raise InvalidInputError(f"{path.name}: is a {archive}; unpack it and give one file of it")
    if not head.startswith(PARQUET_MAGIC) and b"\x00" in head:
        raise InvalidInputError(f"{path.name}: is binary and no parquet; need CSV, JSON or parquet")
    return head


def check_unpacked_size(path: Path, most_bytes: int) -> None:
    """Refuse a file whose content is larger than that once it is unpacked: little can hold a lot.

    Raises:
        InvalidInputError: If it is larger, or cannot be read.
    """
    if read_head(path).startswith(PARQUET_MAGIC):
        size = _parquet_bytes(path)
    else:
        size = 0
        with open_stream(path) as stream:
            try:
                while size <= most_bytes and (piece := stream.read(READ_BYTES)):
                    size += len(piece)
            except (OSError, pa.ArrowInvalid) as error:
                raise InvalidInputError(f"{path.name}: cannot be unpacked: {error}") from error
    if size > most_bytes:
        raise InvalidInputError(
            f"{path.name}: holds more than {most_bytes // 1_048_576} MiB once unpacked; bring a "
            "shorter part of it, or import it with `llmserve trace import`"
        )


def _parquet_bytes(path: Path) -> int:
    try:
        described = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInputError(f"{path.name}: is no readable parquet: {error}") from error
    groups = (described.row_group(index) for index in range(described.num_row_groups))
    # A column of one value takes no bytes at all; a row is never read in fewer than these.
    return max(sum(group.total_byte_size for group in groups), ROW_BYTES * described.num_rows)


def container_of(head: bytes, *, is_one_line_json: Callable[[bytes], bool]) -> Container:
    """What kind of file begins like this.

    Args:
        head: Its first bytes.
        is_one_line_json: Whether a line is all of a JSON value.
    """
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return "json document"
    if not text.startswith(b"{"):
        return "csv"
    first, has_more, _ = text.partition(b"\n")
    # An object longer than the head is one line, or the head would hold its end.
    return "json lines" if not has_more or is_one_line_json(first) else "json document"


def size_bytes(path: Path) -> int:
    """The size of the file.

    Raises:
        InvalidInputError: If there is none.
    """
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise InvalidInputError(f"{path.name}: cannot be read: {error.strerror}") from error
