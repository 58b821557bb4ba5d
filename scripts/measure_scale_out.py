"""How far one machine goes, and what a cluster costs: episodes over processes and over Ray.

    uv run --extra ray python -m scripts.measure_scale_out [--episodes 200] [--repeats 3] [--write]

Steps a second of `kv_rule` on bursty_workload, with 1, 2, ... processes up to the cores; then what
starting the workers takes, and what a job takes that does nothing, over processes and over a Ray
cluster that is started here. `--write` puts the table into docs/scale_out.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

from agents.evaluation import jobs_of, play_job
from agents.parallel import Pool, Workers, open_pool
from agents.result_files import write_text
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import shipped_catalogue

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "scale_out.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
TASK, AGENT = "bursty_workload", "kv_rule"
IDLE_JOBS: Final = 500
Row = tuple[str, str, str, str, str]
Item = TypeVar("Item")


def nothing(number: int) -> int:
    """A job that costs what it costs to hand it over."""
    return number


def rows_of(workers: Workers, label: str, *, episodes: int, repeats: int) -> Row:
    """What is measured of these workers: start, steps a second, an idle job."""
    jobs = jobs_of([AGENT], [TASK], split_seeds("train", episodes))
    windows = shipped_catalogue().get(TASK).windows
    begun_s = time.perf_counter()
    with open_pool(workers) as pool:
        # Every worker has loaded and compiled what it needs before anything is timed.
        _run(pool, play_job, jobs[: 4 * max(workers.processes, 1)])
        start_s = time.perf_counter() - begun_s
        rates = [episodes * windows / _run(pool, play_job, jobs) for _ in range(repeats)]
        idle = [_run(pool, nothing, list(range(IDLE_JOBS))) for _ in range(repeats)]
    each_ms = [1000.0 * took_s / IDLE_JOBS for took_s in idle]
    return (
        label,
        f"{start_s:.1f}",
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{median(each_ms):.2f} ({min(each_ms):.2f} to {max(each_ms):.2f})",
    )


def _run(pool: Pool, work: Callable[[Item], object], items: Sequence[Item]) -> float:
    """Seconds until all are done."""
    begun_s = time.perf_counter()
    for _ in pool.completed(work, items):
        pass
    return time.perf_counter() - begun_s


def table(rows: Sequence[Row], *, episodes: int, repeats: int) -> str:
    """The rows as Markdown, and under which conditions they were measured."""
    head = ("workers", "start, s", "steps/s", "least to most", "an idle job, ms")
    lines = [head, ("---",) * len(head), *rows]
    said = (
        f"`{AGENT}` on {TASK}, {episodes} episodes of 200 steps, resets and traffic included; "
        f"median of {repeats} repeats. {os.cpu_count()} logical cores, {platform.machine()}, "
        f"Python {platform.python_version()}."
    )
    return said + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str]) -> int:
    """0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--address", default="local", help="of a cluster; local starts one")
    parser.add_argument("--write", action="store_true", help="write docs/scale_out.md")
    given = parser.parse_args(argv)
    counts = sorted({1, 2, os.cpu_count() or 1})
    places = [(Workers(count), f"{count} processes of this machine") for count in counts]
    places[0] = (Workers(1), "this process alone")
    places.append((Workers(place="ray", address=given.address), "Ray, as many cores"))
    rows = []
    for workers, label in places:
        rows.append(rows_of(workers, label, episodes=given.episodes, repeats=given.repeats))
        print(" | ".join(rows[-1]), flush=True)
    found = table(rows, episodes=given.episodes, repeats=given.repeats)
    if given.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        write_text(PAGE, f"{before}{BEGIN}\n{found}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
