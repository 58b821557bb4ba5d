"""Keeps a training on disk, so that one that was killed can be taken up where it was saved."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from agents.result_files import write_whole
from llmserve_env.errors import InvalidInputError


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replace the checkpoint at one stroke: whoever is killed meanwhile leaves the last one.

    Args:
        path: Its folder is made if there is none.
        content: Tensors, numbers, texts, and lists and dicts of them.

    Raises:
        OSError: If the folder cannot be made or written to.
    """
    # Not into the file: torch tells of a full disk as of a mistake of its own.
    whole = io.BytesIO()
    torch.save(content, whole)
    write_whole(path, lambda file: file.write(whole.getbuffer()))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; only data is read, no code is run.

    Raises:
        InvalidInputError: If there is none, or the file is none.
    """
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no checkpoint to resume from") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InvalidInputError(f"{path}: not a checkpoint: {error}") from error
    return content
