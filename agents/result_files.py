"""Writes results to files, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Put the text in the file; whoever reads meanwhile sees the old text or all of this one.

    What is there and is no plain file, such as /dev/null or a pipe, is written to and stays.

    Raises:
        OSError: If the folder cannot be made or written to.
    """
    # A link stays a link: what it points to is replaced.
    path = path.resolve()
    if path.exists() and not path.is_file():
        # To replace a device by a file would take it from everybody on the machine.
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes files that only their owner reads; results are for everybody.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Put the content in the file as JSON, as `write_text` does.

    Raises:
        OSError: As `write_text`.
        ValueError: If a number is NaN or infinite, which JSON cannot say.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
