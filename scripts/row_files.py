"""Tables of measured rows as CSV, with the conditions of the measurement as JSON beside them."""

from __future__ import annotations

import csv
import io
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agents.result_files import write_json, write_text

Row = TypeVar("Row")


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]
) -> None:
    """Write rows that all have the keys of the first, and the conditions; None is an empty field.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError(f"no rows to write to {path.name}")
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    write_json(conditions_path(path), dict(conditions))


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a file as records of a dataclass whose fields are texts, numbers or such or None.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a row has other columns than the record has fields, or a field no number.
    """
    hints = typing.get_type_hints(kind)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or ()) != list(hints):
            raise ValueError(f"{path.name}: columns {reader.fieldnames}, expected {list(hints)}")
        return [kind(**{name: _parse(row[name], hints[name]) for name in hints}) for row in reader]


def read_conditions_of(path: Path) -> dict[str, Any]:
    """The conditions under which the rows of a file were measured."""
    conditions: dict[str, Any] = json.loads(conditions_path(path).read_text(encoding="utf-8"))
    return conditions


def conditions_path(path: Path) -> Path:
    """Where the conditions of a file of rows are."""
    return path.with_suffix(".json")


def _parse(text: str, hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        kinds = [each for each in typing.get_args(hint) if each is not types.NoneType]
        return None if text == "" else kinds[0](text)
    return hint(text)
