"""Rows in any order -> rows by time in bounded memory: sorted runs on disk, merged by stretches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from simulator.records import FloatArray, IntArray
from simulator.trace_files.rows import ROW, Rows

RUN_ROWS: Final = 250_000
# Every so many rows of a run one time is remembered, to cut the stretches by.
SAMPLE_EVERY: Final = 1_000
US_NS: Final = 1_000
NS_PER_S: Final = 1e9
GAP_LEVELS: Final = np.linspace(0.0, 1.0, 101)
# A few gaps are shorter than a clock's tick: Mooncake's, of 3 s, is 1 ms early at times.
TICK_LEVEL: Final = 0.05


@dataclass(frozen=True, slots=True)
class Gaps:
    """What the gaps between successive rows tell of the clock.

    Attributes:
        zero_fraction: Share of the gaps that are zero.
        short_s: A short gap among those that are not, its 5 % quantile; None if all are zero.
        step_s: What all times are multiples of, counted from the first; None if all are one time.
    """

    zero_fraction: float
    short_s: float | None
    step_s: float | None


class RowSorter:
    """Takes rows as they come and gives them back by time, rows of the same time in file order.

    Attributes:
        count: Rows taken.
        first_ns: The earliest time; None before the first row.
    """

    def __init__(self, folder: Path, *, run_rows: int = RUN_ROWS) -> None:
        """Keep runs of so many rows in this folder; a last run that is shorter stays in memory."""
        self._folder, self._run_rows = folder, run_rows
        self._waiting: list[Rows] = []
        self._waiting_rows = 0
        self._runs: list[Path | Rows] = []
        self._samples: list[IntArray] = []
        self._origin_ns = 0
        self.count = 0
        self.first_ns: int | None = None
        self._step_us = 0

    def add(self, rows: Rows) -> None:
        """Take rows."""
        if len(rows) == 0:
            return
        times = rows["time_ns"]
        if self.first_ns is None:
            self._origin_ns = self.first_ns = int(times[0])
        self.first_ns = min(self.first_ns, int(times.min()))
        steps = np.gcd.reduce((times - self._origin_ns) // US_NS)
        self._step_us = math.gcd(self._step_us, int(steps))
        self.count += len(rows)
        self._waiting.append(rows)
        self._waiting_rows += len(rows)
        if self._waiting_rows >= self._run_rows:
            path = self._folder / f"run{len(self._runs)}.npy"
            np.save(path, self._close_run())
            self._runs.append(path)

    def sorted_rows(self) -> Iterator[tuple[Rows, int]]:
        """All rows by time, a stretch of time after the other; may be asked for again.

        With every stretch comes a time in nanoseconds that the rows after it are not before.
        """
        if self._waiting:
            self._runs.append(self._close_run())
        for low, high in pairwise(self._edges()):
            parts = [self._between(run, low, high) for run in self._runs]
            rows = np.concatenate(parts) if parts else np.zeros(0, ROW)
            yield rows[np.argsort(rows["time_ns"], kind="stable")], high

    def gaps(self) -> Gaps:
        """What the gaps between successive rows are like."""
        zeros, quantiles = 0, []
        last: list[int] = []
        for rows, _ in self.sorted_rows():
            times = np.concatenate((last, rows["time_ns"])).astype(np.int64)
            gaps = np.diff(times)
            zeros += int(np.count_nonzero(gaps == 0))
            if gaps.any():
                quantiles.append(np.quantile(gaps[gaps > 0], GAP_LEVELS))
            last = times[-1:].tolist()
        short_ns = np.quantile(np.concatenate(quantiles), TICK_LEVEL) if quantiles else None
        return Gaps(
            zero_fraction=zeros / max(self.count - 1, 1),
            short_s=None if short_ns is None else float(short_ns) / NS_PER_S,
            step_s=self._step_us * US_NS / NS_PER_S or None,
        )

    def _close_run(self) -> Rows:
        rows = np.concatenate(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        rows = rows[np.argsort(rows["time_ns"], kind="stable")]
        self._samples.append(rows["time_ns"][::SAMPLE_EVERY].copy())
        return rows

    def _edges(self) -> list[int]:
        """Times between which there are about as many rows as in a run; the last is beyond all."""
        samples = np.sort(np.concatenate(self._samples)) if self._samples else np.zeros(0, np.int64)
        chosen = samples[:: max(1, self._run_rows // SAMPLE_EVERY)]
        return [*np.unique(chosen).tolist(), np.iinfo(np.int64).max]

    @staticmethod
    def _between(run: Path | Rows, low: int, high: int) -> Rows:
        # Mapped anew every time: pages of a file that stays mapped count as memory of the process.
        rows = np.load(run, mmap_mode="r") if isinstance(run, Path) else run
        start, end = np.searchsorted(rows["time_ns"], [low, high])
        return np.array(rows[start:end])


def spread_within_ticks(
    rows: Rows, *, first_ns: int, next_ns: int, tick_s: float | None, rng: np.random.Generator
) -> tuple[FloatArray, Rows]:
    """Seconds since the first row, spread by U(0, tick) where there is a tick, and rows by them.

    No row is moved past the next time that occurs, so stretches of rows can be spread one by one.

    Args:
        rows: In the order of their times.
        first_ns: Time of the first row of all.
        next_ns: The rows after these are not before it.
        tick_s: None if times stay as they are.
        rng: Draws where in its tick a row came.
    """
    seconds: FloatArray = (rows["time_ns"] - first_ns) / NS_PER_S
    if tick_s is None or len(rows) == 0:
        return seconds, rows
    times, of_row = np.unique(rows["time_ns"], return_inverse=True)
    gaps_s = np.diff(np.append(times, max(next_ns, int(times[-1]) + 1)).astype(float)) / NS_PER_S
    seconds = seconds + rng.random(len(rows)) * np.minimum(gaps_s, tick_s)[of_row]
    order = np.argsort(seconds, kind="stable")
    return seconds[order], rows[order]
