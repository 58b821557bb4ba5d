"""Runs programs on a full disk, on a read-only one, under another clock, and kills them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.local_server import ROOT

LIMIT_S: Final = 600.0
FAKETIME: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
BEGIN: Final = "-- what is left --"
# In a mount namespace of its own, so that nothing stays mounted: $1 is the folder, $2 its size,
# $3 what is done to it once it holds what it is to hold, the rest is the command.
IN_NAMESPACE: Final = f"""
folder=$1; size=$2; spoil=$3; shift 3
cp -a "$folder" "$folder.kept"; mount -t tmpfs -o "size=$size" tmpfs "$folder"
cp -a "$folder.kept/." "$folder/"; rm -r "$folder.kept"
case $spoil in
    full) dd if=/dev/zero of="$folder/.filler" bs=4096 2>/dev/null ;;
    read-only) mount -o remount,ro "$folder" ;;
esac
"$@"; code=$?
echo "{BEGIN}"; cd "$folder"; find . -type f ! -name .filler -exec sha256sum {{}} +
exit $code
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        status: Exit status; negative is a signal.
        errors: The lines of its stderr.
        left: SHA-256 of every file in the folder, by its path there.
    """

    status: int
    errors: tuple[str, ...]
    left: Mapping[str, str]

    @property
    def said(self) -> str:
        """The last line of stderr, without the names of this machine's folders."""
        return self.errors[-1] if self.errors else ""


def can_mount() -> bool:
    """Whether this user may make a mount namespace."""
    tried = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def run_spoilt(command: Sequence[str], folder: Path, *, spoil: str, size: str = "64m") -> Ended:
    """Run a command while this folder is a small disk of its own.

    Args:
        command: Run in the project's root.
        folder: Its files are there.
        spoil: "full", "read-only" or "" for a disk that is just small.
        size: Of the disk, as tmpfs takes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = ["unshare", "-rm", "sh", "-c", IN_NAMESPACE, "sh", str(folder), size, spoil, *command]
    done = subprocess.run(
        whole, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    _, _, listed = done.stdout.partition(f"{BEGIN}\n")
    rows = [line.split(maxsplit=1) for line in listed.splitlines()]
    left = {name.removeprefix("./"): digest for digest, name in rows}
    return Ended(done.returncode, _lines(done.stderr), left)


def run_plainly(
    command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
) -> Ended:
    """Run a command; `folder` is looked at afterwards."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | dict(environ or {}),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Ended(done.returncode, _lines(done.stderr), digests(folder))


def run_killed(command: Sequence[str], folder: Path, after_s: float) -> Ended:
    """Run a command and send it and its children SIGKILL after so long."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
        status = process.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    return Ended(status, _lines(said), digests(folder))


def clock_of(folder: Path) -> tuple[dict[str, str], Path]:
    """Variables under which a program's clock is off by what the file says, at any moment."""
    offset = folder / "offset"
    offset.write_text("+0\n")
    variables = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        # The kernel's monotonic clock does not jump with the other one.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return variables, offset


def run_with_jumps(command: Sequence[str], folder: Path, every_s: float = 0.5) -> Ended:
    """Run a command while its clock jumps back and forth by a year."""
    with tempfile.TemporaryDirectory() as beside, tempfile.TemporaryFile() as errors:
        variables, offset = clock_of(Path(beside))
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        jumps = 0
        while process.poll() is None:
            time.sleep(every_s)
            offset.write_text(("+1y\n", "-1y\n")[jumps % 2])
            jumps += 1
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    return Ended(process.returncode, _lines(said), digests(folder))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip())
