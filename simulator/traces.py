"""Turns a recorded parquet trace into checked arrays, and a stretch of it into an episode.

Seeds of different splits can be kept on stretches of their own: training seeds on the earlier part,
validation and test seeds on the later ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import CLASS_COUNT
from llmserve_env.splits import Split, split_of
from simulator.rates import StepFunction
from simulator.records import FloatArray, IntArray

REQUIRED_COLUMNS = ("timestamp_s", "prompt_tokens", "output_tokens")
PRIORITY_COLUMN = "priority"
TRACES_KEPT = 8
MAX_TIME_WARP = 4.0
DAY_S = 86_400.0
# Where the training and the validation stretch end, as shares of the trace's time.
SPLIT_ENDS = (0.70, 0.85)
# From so many days on the ends are moved to whole days after the trace's start.
MIN_WHOLE_DAYS = 7.0

_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded trace; every array is read-only.

    Attributes:
        path: Where it came from, for messages.
        arrival_s: (rows,) float64, seconds since the first row, not falling.
        prompt_tokens: (rows,) int64, at least 1.
        output_tokens: (rows,) int64, at least 1.
        priority_class: (rows,) int64 in 0..2, or None if the trace has no such column.
    """

    path: Path
    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    priority_class: IntArray | None

    @property
    def duration_s(self) -> float:
        """Seconds from the first row to the last."""
        return float(self.arrival_s[-1])


def read_trace(path: Path) -> Trace:
    """The trace in a parquet file; kept in memory until the file changes.

    Raises:
        InvalidInputError: If the file is missing or no parquet file, lacks a column, or has a row
            with a missing number, a time before the row above, or a token count below 1. Rows are
            counted from 0.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInputError(f"trace {path.name}: cannot be read: {error.strerror}") from error
    return _read_trace(path, status.st_mtime_ns, status.st_size)


def split_stretch(
    trace: Trace, trace_seed: int, *, episode_s: float
) -> tuple[float, float, Split | None]:
    """The stretch of a trace that a seed plays, in seconds, and which split's it is.

    A trace in which one of the three stretches is shorter than an episode is not cut: every seed
    plays all of it, and the split is None. Seeds beyond all splits are drawn by whoever trains, so
    they play the training stretch.
    """
    ends_s = [share * trace.duration_s for share in SPLIT_ENDS]
    if trace.duration_s >= MIN_WHOLE_DAYS * DAY_S:
        ends_s = [round(end_s / DAY_S) * DAY_S for end_s in ends_s]
    train_s, validation_s = ends_s
    stretches: dict[Split, tuple[float, float]] = {
        "train": (0.0, train_s),
        "validation": (train_s, validation_s),
        "test": (validation_s, trace.duration_s),
    }
    if any(end_s - start_s < episode_s for start_s, end_s in stretches.values()):
        return 0.0, trace.duration_s, None
    split = split_of(trace_seed) or "train"
    return *stretches[split], split


def replay_rows(
    trace: Trace,
    speed: StepFunction,
    rng: np.random.Generator,
    *,
    stretch_s: tuple[float, float] | None = None,
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Arrival times of an episode and the rows of the trace they belong to.

    The trace's clock runs at `speed` trace seconds per second, from a random offset. It never
    wraps around: the end of a trace does not lead to its start.

    Args:
        trace: What is replayed.
        speed: Trace seconds per second, over the episode.
        rng: Draws the offset.
        stretch_s: Start and end of the part that is played; all of it if left out.

    Raises:
        InvalidInputError: If the speed rises above MAX_TIME_WARP or the trace is too short.
    """
    start_s, end_s = (0.0, trace.duration_s) if stretch_s is None else stretch_s
    _check_speed(trace, speed)
    elapsed_s = speed.cumulative()
    slack_s = end_s - start_s - float(elapsed_s[-1])
    if slack_s < 0.0:
        raise InvalidInputError(
            f"trace {trace.path.name}: lasts {end_s - start_s:.6g} s, "
            f"the episode needs {elapsed_s[-1]:.6g} s of it"
        )
    offset_s = start_s + rng.uniform(0.0, slack_s)
    first, last = np.searchsorted(trace.arrival_s, [offset_s, offset_s + elapsed_s[-1]])
    rows = np.arange(first, last)
    times_s = np.interp(trace.arrival_s[rows] - offset_s, elapsed_s, speed.edges_s)
    return np.minimum(times_s, np.nextafter(speed.horizon_s, 0.0)), rows


def _check_speed(trace: Trace, speed: StepFunction) -> None:
    fastest = float(speed.values.max())
    if fastest > MAX_TIME_WARP:
        raise InvalidInputError(
            f"trace {trace.path.name}: rate_scale x load x regime reaches {fastest:.3g}; "
            f"a trace is replayed at up to {MAX_TIME_WARP} times its speed"
        )


# The time and size are part of the key, so that a file that changed is read again.
@lru_cache(maxsize=TRACES_KEPT)
def _read_trace(path: Path, _changed_ns: int, _size_bytes: int) -> Trace:
    try:
        names = pq.read_schema(path).names
        missing = [name for name in REQUIRED_COLUMNS if name not in names]
        if missing:
            raise InvalidInputError(
                f"trace {path.name}: lacks column {', '.join(missing)}; it has {', '.join(names)}"
            )
        wanted = [name for name in (*REQUIRED_COLUMNS, PRIORITY_COLUMN) if name in names]
        table = pq.read_table(path, columns=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInputError(
            f"trace {path.name}: not a readable parquet file: {error}"
        ) from error
    if table.num_rows == 0:
        raise InvalidInputError(f"trace {path.name}: has no rows")
    times_s = _numbers(table, "timestamp_s", path)
    _refuse_rows(
        times_s[1:] < times_s[:-1], times_s[1:], 1, f"trace {path.name}: timestamp_s falls"
    )
    return Trace(
        path=path,
        arrival_s=_read_only(times_s - times_s[0]),
        prompt_tokens=_counts(table, "prompt_tokens", path, low=1, high=None),
        output_tokens=_counts(table, "output_tokens", path, low=1, high=None),
        priority_class=(
            _counts(table, PRIORITY_COLUMN, path, low=0, high=CLASS_COUNT - 1)
            if PRIORITY_COLUMN in names
            else None
        ),
    )


def _numbers(table: pa.Table, name: str, path: Path) -> FloatArray:
    try:
        values = table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"trace {path.name}: {name} is not a number: {error}") from error
    numbers = np.asarray(values, dtype=np.float64)
    _refuse_rows(~np.isfinite(numbers), numbers, 0, f"trace {path.name}: {name} must be finite")
    return numbers


def _counts(table: pa.Table, name: str, path: Path, *, low: int, high: int | None) -> IntArray:
    numbers = _numbers(table, name, path)
    bad = (numbers != np.rint(numbers)) | (numbers < low)
    limits = f"at least {low}"
    if high is not None:
        bad |= numbers > high
        limits = f"in {low}..{high}"
    _refuse_rows(bad, numbers, 0, f"trace {path.name}: {name} must be a whole number {limits}")
    return _read_only(numbers.astype(np.int64))


def _refuse_rows(
    bad: npt.NDArray[np.bool_], values: FloatArray, first_row: int, complaint: str
) -> None:
    if bad.any():
        index = int(bad.argmax())
        raise InvalidInputError(f"{complaint}; row {first_row + index} has {values[index]}")


def _read_only(array: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    array.flags.writeable = False
    return array
