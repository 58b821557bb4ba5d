"""What was worked out so far, kept line by line, so that a study goes on where it was killed."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from agents.recommend.tallies import BINS, SUMS, Blocks
from llmserve_env.errors import InvalidInputError

HEADER: Final = "study"


class Journal:
    """A file of JSON lines: the fingerprint of a study, then what each of its steps yielded."""

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        """Open it, and read what is there; a last line that was cut off by a kill is dropped.

        Raises:
            InvalidInputError: If it belongs to another study, or is no journal.
            OSError: If it cannot be written.
        """
        self._path = path
        self._known: dict[str, Any] = {}
        whole = self._read(fingerprint)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)
        self.reused = 0
        if whole == 0:
            self._append({HEADER: fingerprint})

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def recall(self, key: str, make: Callable[[], Any]) -> Any:
        """What the step of this key yielded, as JSON; made and kept if it is not known yet."""
        if key in self._known:
            self.reused += 1
            return self._known[key]
        value = make()
        self._append({"key": key, "value": value})
        self._known[key] = value
        return value

    def _read(self, fingerprint: dict[str, Any]) -> int:
        """Take in what is there; how many bytes of it are whole lines."""
        if not self._path.exists():
            return 0
        whole = 0
        for number, line in enumerate(self._path.read_bytes().splitlines(keepends=True)):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                entry = None
            if entry is None:
                break
            if number == 0:
                self._check(entry, fingerprint)
            else:
                self._known[entry["key"]] = entry["value"]
            whole += len(line)
        return whole

    def _check(self, entry: Any, fingerprint: dict[str, Any]) -> None:
        held = entry.get(HEADER) if isinstance(entry, dict) else None
        if held is None:
            raise InvalidInputError(f"{self._path}: not the progress of a recommendation")
        if held != fingerprint:
            changed = [
                f"{name} {held.get(name)!r} -> {value!r}"
                for name, value in fingerprint.items()
                if held.get(name) != value
            ]
            raise InvalidInputError(
                f"{self._path.parent} holds the progress of another recommendation "
                f"({'; '.join(changed)[:300]}); name another --out, or --fresh starts anew"
            )

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def blocks_text(blocks: Blocks) -> str:
    """Blocks as a text that JSON can hold."""
    table = np.concatenate([blocks.ttft, blocks.itl, blocks.sums], axis=1)
    return base64.b64encode(zlib.compress(table.tobytes())).decode()


def blocks_of(text: str) -> Blocks:
    """What blocks_text made a text of."""
    flat = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.float64)
    table = flat.reshape(-1, 2 * BINS + len(SUMS))
    return Blocks(table[:, :BINS], table[:, BINS : 2 * BINS], table[:, 2 * BINS :])
