"""Tries faults on the programs that write files and on the server, and says what happened.

    uv run --extra train python -m scripts.try_faults [--only NAME ...] [--write]

Full and read-only disks are file systems of a mount namespace (Linux, `unshare`); clocks are moved
by libfaketime (Debian's package `libfaketime`); without one of them its rows are left out, and said
so. Exit status 1 if a promise does not hold. `--write` puts the table into docs/reliability.md, or
with `--only` the rows of these programs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scripts.fault_servers import Row, killed, under_another_clock, without_a_disk
from scripts.fault_tools import (
    FAKETIME,
    Ended,
    can_mount,
    digests,
    run_killed,
    run_plainly,
    run_spoilt,
    run_with_jumps,
)
from scripts.reliability_report import known_result, write_section

PYTHON: Final = sys.executable
ROWS: Final = 400_000
KILLED_AT: Final = (0.3, 0.6, 0.8, 0.9, 0.95)
SAID_CHARACTERS: Final = 90


@dataclass(frozen=True, slots=True)
class Program:
    """A program that writes a result.

    Attributes:
        name: For the table.
        command: Given the folder of its results.
        result: Pattern of the files that have to be the same whatever happens.
        resume: Options with which it is called again after it was killed.
    """

    name: str
    command: Callable[[Path], list[str]]
    result: str
    resume: tuple[str, ...] = ()

    def results(self, folder: Path) -> dict[str, str]:
        """Digests of its result files."""
        kept = {str(path.relative_to(folder)) for path in folder.rglob(self.result)}
        return {name: digest for name, digest in digests(folder).items() if name in kept}


def programs(beside: Path) -> dict[str, Program]:
    """All of them; what they read is made in this folder."""
    recording = beside / "recording.csv"
    with recording.open("w") as file:
        file.write("timestamp_s,prompt_tokens,output_tokens\n")
        file.writelines(f"{0.01 * row:.2f},{100 + row % 900},10\n" for row in range(ROWS))
    imported = [PYTHON, "-m", "llmserve_env", "trace", "import", str(recording), "--replace", "-o"]
    trained = [PYTHON, "train.py", "--smoke", "--steps", "3200", "--runs"]
    played = [PYTHON, "evaluate.py", "--agent", "mpc", "--task", "static_workload"]
    return {
        "import": Program(
            "llmserve trace import", lambda at: [*imported, str(at / "mine.parquet")], "*.parquet"
        ),
        "train": Program("train.py", lambda at: [*trained, str(at)], "*.npz", ("--resume",)),
        "evaluate": Program(
            "evaluate.py",
            lambda at: [*played, "--episodes", "2", "--json", str(at / "result.json")],
            "*.json",
        ),
    }


def tried(program: Program, beside: Path) -> Iterator[Row]:
    """Every fault on one program."""
    unbroken = beside / "unbroken"
    unbroken.mkdir()
    began_s = time.monotonic()
    whole = run_plainly(program.command(unbroken), unbroken)
    seconds = time.monotonic() - began_s
    results = program.results(unbroken)
    if whole.status != 0 or not results:
        raise RuntimeError(f"{program.name} fails by itself: {whole.errors}")
    if can_mount():
        yield from _spoilt(program, beside)
    yield _killed(program, beside, results, seconds)
    if FAKETIME.exists():
        yield _jumped(program, beside, results)


def _spoilt(program: Program, beside: Path) -> Iterator[Row]:
    for fault, spoil in (("disk full", "full"), ("read-only file system", "read-only")):
        folder = beside / spoil
        folder.mkdir()
        run_plainly(program.command(folder), folder)
        before = digests(folder)
        ended = run_spoilt(program.command(folder), folder, spoil=spoil)
        same = _same(before, ended.left)
        said = _said(ended, folder)
        yield Row(
            program.name,
            fault,
            f"exit status {ended.status}, {len(ended.errors)} line on stderr: “{said}”; "
            f"{len(same)} of {len(before)} files of before unchanged, "
            f"{len(ended.left.keys() - before.keys())} new",
            "exit status 2 and one line; results of before stay as they were",
            ended.status == 2
            and len(ended.errors) == 1
            and program.results(folder).items() <= ended.left.items(),
        )


def _same(before: dict[str, str], left: object) -> list[str]:
    after = dict(left) if isinstance(left, dict) else {}
    return [name for name, digest in before.items() if after.get(name) == digest]


def _said(ended: Ended, folder: Path) -> str:
    return ended.said.replace(str(folder), "FOLDER")[:SAID_CHARACTERS].replace("|", "/")


def _killed(program: Program, beside: Path, results: dict[str, str], seconds: float) -> Row:
    """Kill it again and again, later each time, then let it end."""
    folder = beside / "killed"
    folder.mkdir()
    half = kills = 0
    for share in KILLED_AT:
        command = program.command(folder)
        if any(folder.rglob("checkpoint.pt")):
            command += program.resume
        ended = run_killed(command, folder, share * seconds)
        kills += ended.status < 0
        half += not program.results(folder).items() <= results.items()
    last = program.command(folder)
    if any(folder.rglob("checkpoint.pt")):
        last += program.resume
    run_plainly(last, folder)
    return Row(
        program.name,
        "kill -9",
        f"killed {kills} times of {len(KILLED_AT)}; {half} results that were not whole; "
        + (
            "the last call " + ("goes on and " if program.resume else "") + "ends with the same "
            "bytes as one that was never killed"
            if program.results(folder) == results
            else "the end differs from that of one that was never killed"
        ),
        "no half-written file under a result's name; called again it ends with the same result"
        + (", from its last checkpoint on" if program.resume else ""),
        half == 0 and program.results(folder) == results,
    )


def _jumped(program: Program, beside: Path, results: dict[str, str]) -> Row:
    folder = beside / "jumped"
    folder.mkdir()
    ended = run_with_jumps(program.command(folder), folder)
    same = program.results(folder) == results
    return Row(
        program.name,
        "clock jumps by a year, back and forth",
        f"exit status {ended.status}; result {'byte for byte the same' if same else 'differs'}",
        "no result depends on the clock",
        ended.status == 0 and same,
    )


def _with_known(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows, after those of programs that were not tried this time."""
    known = (known_result("faults") or {"rows": []})["rows"]
    tried_now = {row.program for row in rows}
    return [row for row in known if row["program"] not in tried_now] + [asdict(row) for row in rows]


def main(argv: Sequence[str]) -> int:
    """0 if all promises hold, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("server", "import", "train", "evaluate")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    arguments = parser.parse_args(argv)
    rows: list[Row] = []

    def take(found: Iterator[Row]) -> None:
        for row in found:
            print(
                "holds " if row.holds else "BROKEN",
                row.program,
                row.fault,
                row.happened,
                sep=": ",
                flush=True,
            )
            rows.append(row)

    with tempfile.TemporaryDirectory() as folder:
        known = programs(Path(folder))
        for name in arguments.only:
            if name == "server":
                take(without_a_disk() if can_mount() else iter(()))
                take(killed())
                take(under_another_clock())
                continue
            beside = Path(folder) / name
            beside.mkdir()
            take(tried(known[name], beside))
    missing = [] if can_mount() else ["full and read-only disks (no mount namespace)"]
    missing += [] if FAKETIME.exists() else ["clock jumps (no libfaketime)"]
    if arguments.write:
        write_section("faults", {"rows": _with_known(rows), "not_tried": missing})
    print(f"not tried: {', '.join(missing) or 'nothing'}")
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
