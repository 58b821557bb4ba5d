"""A temporary folder where there seems to be none: on a read-only root without a mount at /tmp."""

from __future__ import annotations

import os
import tempfile
from typing import Final

# Linux containers have it, however little else can be written to.
SHARED_MEMORY: Final = "/dev/shm"


def name_temporary_folder() -> None:
    """Let `tempfile` name a folder, whether or not it can be written to.

    Otherwise it raises, and Gradio cannot even be imported.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        usable = os.access(SHARED_MEMORY, os.W_OK)
        tempfile.tempdir = SHARED_MEMORY if usable else "/tmp"


def can_write_temporary_files() -> bool:
    """Whether that folder can be written to."""
    return os.access(tempfile.gettempdir(), os.W_OK)
