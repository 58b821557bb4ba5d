"""Compiles the engine's inner loop with numba, cached on disk by the content of its sources."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])

_HERE: Final = Path(__file__).parent
_NUMBA_CONFIG: Any = numba.config  # its attributes are made at run time
# Strict IEEE arithmetic: no fastmath. The kernel allocates nothing, so reference counting is off
# (`_nrt`): counting the views that every look-up makes costs eight times the simulation itself.
_OPTIONS: Final[dict[str, Any]] = {"error_model": "numpy", "_nrt": False}
_NO_WRAPPERS: Final[dict[str, Any]] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@cache
def cache_directory() -> Path | None:
    """Where compiled code is kept, or None where nothing can be written.

    Numba invalidates a cached function when its own file changes, but not when a function that it
    calls changes in another file. The directory's name is therefore a digest of all kernel files
    and of what they work on.

    Numba reads only where it can write. Compiled code that lies where nothing can be written, as in
    an image whose root is read-only, is therefore copied to a folder of this process.
    """
    digest = hashlib.blake2s(digest_size=8)
    arrays = (_HERE / "state.py", _HERE / "outcome.py")
    for path in (*sorted(_HERE.glob("kernel*.py")), *arrays, Path(__file__)):
        digest.update(path.read_bytes())
    configured = _NUMBA_CONFIG.CACHE_DIR
    roots = [Path(configured)] if configured else []
    roots.append(_HERE / "__pycache__" / "kernel")
    # Not Path.home(): a container's user may have none.
    home = os.path.expanduser("~")
    roots += [Path(home) / ".cache" / "llmserve"] if os.path.isabs(home) else []
    for root in roots:
        directory = root / digest.hexdigest()
        if _can_write(directory):
            return directory
        if directory.is_dir() and (copy := _copied(directory)):
            return copy
    return None


def _copied(directory: Path) -> Path | None:
    """A copy that lives as long as the process, or None where there is no room for one."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="llmserve-kernel-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(shutil.copytree(directory, folder / directory.name))


def _can_write(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def compiled(function: Function) -> Function:
    """The function compiled on first call and cached where a cache can be written."""
    directory = cache_directory()
    configured = _NUMBA_CONFIG.CACHE_DIR
    _NUMBA_CONFIG.CACHE_DIR = str(directory or "")
    try:
        dispatcher: Function = numba.njit(cache=directory is not None, nogil=True, **_OPTIONS)(
            function
        )
    finally:
        _NUMBA_CONFIG.CACHE_DIR = configured
    return dispatcher


def inlined(function: Function) -> Function:
    """The function as a part of the compiled function that calls it."""
    dispatcher: Function = numba.njit(forceinline=True, **_NO_WRAPPERS, **_OPTIONS)(function)
    return dispatcher
