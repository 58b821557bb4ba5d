"""What was worked out so far, kept line by line, so that a study goes on where it was killed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from agents.kept_rows import KeptRows
from agents.recommend.tallies import BINS, SUMS, Blocks
from llmserve_env.errors import InvalidInputError

HEADER: Final = "study"


class Journal:
    """A file of JSON lines: the fingerprint of a study, then what each of its steps yielded."""

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        """Open it, and read what is there; a last line that was cut off by a kill is dropped.

        Raises:
            InvalidInputError: If it belongs to another study, is no journal, or another run has it.
            OSError: If it cannot be written.
        """
        self._path, self.reused = path, 0
        self._rows = KeptRows(path, _key_of)
        if len(self._rows) == 0:
            self._rows.add({HEADER: fingerprint})
        try:
            self._check(fingerprint)
        except InvalidInputError:
            self._rows.__exit__()
            raise

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, *problem: object) -> None:
        """Close the file."""
        self._rows.__exit__(*problem)

    def recall(self, key: str, make: Callable[[], Any]) -> Any:
        """What the step of this key yielded, as JSON; made and kept if it is not known yet."""
        if key in self._rows:
            self.reused += 1
            return self._rows[key]["value"]
        value = make()
        self._rows.add({"key": key, "value": value})
        return value

    def _check(self, fingerprint: dict[str, Any]) -> None:
        if HEADER not in self._rows:
            raise InvalidInputError(f"{self._path}: not the progress of a recommendation")
        held = self._rows[HEADER][HEADER]
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


def _key_of(row: dict[str, Any]) -> str:
    return HEADER if HEADER in row else str(row["key"])


def blocks_text(blocks: Blocks) -> str:
    """Blocks as a text that JSON can hold."""
    table = np.concatenate([blocks.ttft, blocks.itl, blocks.sums], axis=1)
    return base64.b64encode(zlib.compress(table.tobytes())).decode()


def blocks_of(text: str) -> Blocks:
    """What blocks_text made a text of."""
    flat = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.float64)
    table = flat.reshape(-1, 2 * BINS + len(SUMS))
    return Blocks(table[:, :BINS], table[:, BINS : 2 * BINS], table[:, 2 * BINS :])
