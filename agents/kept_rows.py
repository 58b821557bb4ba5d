"""Rows of JSON kept on disk as they come, so that a program that was killed goes on from there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

from llmserve_env.errors import InvalidInputError

Key = TypeVar("Key", bound=Hashable)


class KeptRows(Generic[Key]):
    """A file of rows, one a line, each under a key of its own; open in one program at a time."""

    def __init__(self, path: Path, key_of: Callable[[dict[str, Any]], Key]) -> None:
        """Read what is there; a line that was cut off when a program was killed is dropped.

        Args:
            path: Its folder is made if there is none.
            key_of: The key of a row; raises KeyError or TypeError if that is no row of this kind.

        Raises:
            InvalidInputError: If a whole line is no row, or another program has the file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._key_of = path, key_of
        self._lines: dict[Key, bytes] = {}
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise InvalidInputError(
                f"{path}: another run writes to it; wait for its end"
            ) from error
        self._read()

    def __enter__(self) -> KeptRows[Key]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._lines

    def __getitem__(self, key: Key) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(self._lines[key])
        return row

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; one whose key is kept already stays as it was.

        Raises:
            OSError: If the disk is full; what was kept before is whole.
        """
        key = self._key_of(row)
        if key in self._lines:
            return
        line = json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._file.write(line)
        # Out of this process at once: a kill takes nothing of it.
        self._file.flush()
        self._lines[key] = line

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                key = self._key_of(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                self._file.close()
                raise InvalidInputError(
                    f"{self._path}: line {number} is no row of this file, got {line[:40]!r}; "
                    "remove the line, or the file to start anew"
                ) from error
            self._lines.setdefault(key, line)
            whole += len(line)
        # Whatever is appended to a cut line would be lost with it.
        os.truncate(self._path, whole)
