"""Writes results to files, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Fill the file; whoever reads meanwhile, or is killed, leaves the old content or all of it.

    What is there and is no plain file, such as /dev/null or a pipe, is written to and stays.

    Args:
        path: Its folder is made if there is none.
        write: Writes the content to the open file that it is given.

    Raises:
        OSError: If the folder cannot be made or written to.
    """
    # A link stays a link: what it points to is replaced.
    path = path.resolve()
    if path.exists() and not path.is_file():
        # To replace a device by a file would take it from everybody on the machine.
        with path.open("wb") as device:
            write(device)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; results are for everybody.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Put the text in the file, as `write_whole` does."""
    write_whole(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: Path, content: Any) -> None:
    """Put the content in the file as JSON, as `write_text` does.

    Raises:
        OSError: As `write_text`.
        ValueError: If a number is NaN or infinite, which JSON cannot say.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
