from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cache_directory(environment: dict[str, str]) -> str:
    """What a fresh process says its cache directory is."""
    command = "from simulator.jit import cache_directory; print(cache_directory())"
    process = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.strip()


def test_the_cache_lies_where_numba_is_told_to_keep_it(tmp_path: Path) -> None:
    directory = Path(cache_directory({"NUMBA_CACHE_DIR": str(tmp_path)}))

    assert directory.parent == tmp_path


def test_the_cache_directory_is_named_by_the_kernel_and_not_by_the_place(tmp_path: Path) -> None:
    first = Path(cache_directory({"NUMBA_CACHE_DIR": str(tmp_path / "a")}))
    second = Path(cache_directory({"NUMBA_CACHE_DIR": str(tmp_path / "b")}))

    assert first.name == second.name


def test_a_place_that_cannot_be_written_is_passed_over(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()

    directory = Path(cache_directory({"NUMBA_CACHE_DIR": str(blocked)}))

    assert not directory.is_relative_to(blocked)
