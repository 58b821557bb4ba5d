from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cache_directory(environment: dict[str, str]) -> str:
    """What a fresh process says its cache directory is."""
    return run("from simulator.jit import cache_directory; print(cache_directory())", environment)


def run(command: str, environment: dict[str, str]) -> str:
    """What a fresh process prints."""
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


READ_ONLY = """
import tempfile
make_file = tempfile.TemporaryFile
def refuse(dir):
    if str(dir).startswith({folder!r}):
        raise PermissionError(dir)
    return make_file(dir=dir)
tempfile.TemporaryFile = refuse
from simulator.jit import cache_directory
print(cache_directory(), *(path.name for path in cache_directory().iterdir()))
"""


def test_compiled_code_that_lies_where_nothing_can_be_written_is_used_from_a_copy(
    tmp_path: Path,
) -> None:
    compiled = Path(cache_directory({"NUMBA_CACHE_DIR": str(tmp_path)}))
    (compiled / "kernel.nbi").touch()

    seen, *names = run(
        READ_ONLY.format(folder=str(tmp_path)), {"NUMBA_CACHE_DIR": str(tmp_path)}
    ).split()

    assert Path(seen).name == compiled.name
    assert not Path(seen).is_relative_to(tmp_path)
    assert names == ["kernel.nbi"]
    assert not Path(seen).exists()  # it goes with the process


def test_a_home_that_cannot_be_told_is_no_error() -> None:
    command = (
        "import os.path; os.path.expanduser = str\n"  # as for a user in no list and without HOME
        "from simulator.jit import cache_directory; print(cache_directory())"
    )

    assert Path(run(command, {"NUMBA_CACHE_DIR": ""})).is_absolute()
