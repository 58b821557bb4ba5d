"""Compiles the engine's inner loop with numba, cached on disk by the content of its sources."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])

_HERE = Path(__file__).parent


@cache
def cache_directory() -> Path | None:
    """Where compiled code is kept, or None where nothing can be written.

    Numba invalidates a cached function when its own file changes, but not when a function that it
    calls changes in another file. The directory's name is therefore a digest of all kernel files.
    """
    digest = hashlib.blake2s(digest_size=8)
    for path in sorted(_HERE.glob("kernel*.py")) + [_HERE / "state.py", Path(__file__)]:
        digest.update(path.read_bytes())
    configured = numba.config.CACHE_DIR
    roots = [Path(configured)] if configured else []
    roots += [_HERE / "__pycache__" / "kernel", Path.home() / ".cache" / "llmserve"]
    for root in roots:
        directory = root / digest.hexdigest()
        if _can_write(directory):
            return directory
    return None


def _can_write(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def compiled(function: Function) -> Function:
    """The function compiled on first call and cached; strict IEEE arithmetic, so no fastmath.

    The kernel allocates nothing, so reference counting is off (`_nrt=False`): with it, counting
    the views that every look-up makes costs eight times the simulation itself.
    """
    directory = cache_directory()
    configured = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory or "")
    try:
        dispatcher: Function = numba.njit(
            cache=directory is not None, nogil=True, error_model="numpy", _nrt=False
        )(function)
    finally:
        numba.config.CACHE_DIR = configured
    return dispatcher


def inlined(function: Function) -> Function:
    """The function as a part of the compiled function that calls it."""
    dispatcher: Function = numba.njit(
        forceinline=True,
        error_model="numpy",
        _nrt=False,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )(function)
    return dispatcher
