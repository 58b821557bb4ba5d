"""The learning curve of a training: a table on disk, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from agents.result_files import write_text

Row = dict[str, float]


def write_curve(path: Path, rows: list[Row]) -> None:
    """Write the rows as CSV, whole or not at all; all have the keys of the first.

    Raises:
        OSError: If the folder cannot be made or written to.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


class Board:
    """TensorBoard's event files, or nothing where it is not installed."""

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        """Open the files; what was written from `from_step` on is taken back."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder), purge_step=from_step)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write values by name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left and close the files."""
        if self._writer is not None:
            self._writer.close()
