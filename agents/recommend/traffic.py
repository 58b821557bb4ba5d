"""A trace -> its earlier part, to search on, and its later part, to judge on, in stretches.

A stretch is played in one go: a lead that warms the engine up and does not count, blocks of 60 s
that count, and a tail in which their last requests get served. Blocks are what intervals are
resampled from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import Acceptance
from simulator.records import FloatArray, IntArray, RequestBatch
from simulator.rng import stream
from simulator.traces import DAY_S, PRIORITY_COLUMN, Trace
from simulator.workload import acceptance_first

WINDOW_S: Final = 1.0
LEAD_S, BLOCK_S, TAIL_S = 30.0, 60.0, 30.0
BLOCKS_PER_STRETCH: Final = 4
WINDOWS: Final = int((LEAD_S + BLOCKS_PER_STRETCH * BLOCK_S + TAIL_S) / WINDOW_S)
EARLIER_SHARE: Final = 0.7
MIN_WHOLE_DAYS: Final = 2.0
MIN_DURATION_S: Final = 300.0
MIN_REQUESTS: Final = 100
MOST_EARLIER, MOST_LATER = 12, 24


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a trace, ready to be played.

    Attributes:
        start_s: Where its first block begins, in seconds of the trace.
        blocks: How many of its blocks count.
        requests: Those of lead, blocks and tail, from the start of the lead on.
    """

    start_s: float
    blocks: int
    requests: RequestBatch


@dataclass(frozen=True, slots=True)
class Part:
    """The earlier or the later part of a trace.

    Attributes:
        start_s: Where it begins.
        end_s: Where it ends.
    """

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """A trace as a study plays it.

    Attributes:
        trace: The recording.
        earlier: What settings are searched on.
        later: What they are judged on.
        by_days: Whether the parts are whole days.
        acceptance: (rows,) float64, of each request's first draft token.
        acceptance_ratio: From one draft position to the next.
    """

    trace: Trace
    earlier: Part
    later: Part
    by_days: bool
    acceptance: FloatArray
    acceptance_ratio: float


def divide(trace: Trace, acceptance: Acceptance) -> Traffic:
    """Cut a trace into an earlier and a later part: by days from two days on, else by time.

    Raises:
        InvalidInputError: If it is too short or has too few requests to say anything.
    """
    duration_s, count = trace.duration_s, len(trace.arrival_s)
    if duration_s < MIN_DURATION_S or count < MIN_REQUESTS:
        raise InvalidInputError(
            f"trace {trace.path.name}: {count} requests in {duration_s:.0f} s; a recommendation "
            f"needs {MIN_REQUESTS} requests or more over {MIN_DURATION_S:.0f} s or more"
        )
    days = duration_s / DAY_S
    by_days = days >= MIN_WHOLE_DAYS
    cut_s = EARLIER_SHARE * duration_s
    if by_days:
        cut_s = DAY_S * min(max(round(EARLIER_SHARE * days), 1), int(np.ceil(days)) - 1)
    first = acceptance_first(acceptance, count, stream(0, "recommend/acceptance"))
    return Traffic(
        trace=trace,
        earlier=Part(0.0, cut_s),
        later=Part(cut_s, duration_s),
        by_days=by_days,
        acceptance=first,
        acceptance_ratio=acceptance.ratio,
    )


def stretches(
    traffic: Traffic, part: Part, *, most: int, replicas: int = 1, speed: float = 1.0
) -> list[Stretch]:
    """Stretches of a part, one behind the other; spread evenly over it if there are too many.

    Args:
        traffic: The trace.
        part: Which part of it.
        most: How many stretches at most.
        replicas: Requests are dealt out in turn among so many, of which the first is played.
        speed: Seconds of the trace per second played: the rate grows by as much.
    """
    end_s = (part.end_s - part.start_s) / speed
    blocks = int(end_s // BLOCK_S)
    firsts = np.arange(0, blocks, BLOCKS_PER_STRETCH)
    if len(firsts) > most:
        firsts = firsts[np.linspace(0, len(firsts) - 1, most).round().astype(int)]
    return list(_cut(traffic, part, firsts, blocks, replicas=replicas, speed=speed))


def _cut(
    traffic: Traffic, part: Part, firsts: IntArray, blocks: int, *, replicas: int, speed: float
) -> Iterator[Stretch]:
    times_s = (traffic.trace.arrival_s - part.start_s) / speed
    # What comes after the earlier part is not known yet when settings are searched.
    horizon_s = (part.end_s - part.start_s) / speed
    for first in firsts.tolist():
        start_s = first * BLOCK_S - LEAD_S
        limits = [start_s, min(start_s + WINDOWS * WINDOW_S, horizon_s)]
        low, high = np.searchsorted(times_s, limits)
        rows = np.arange(low, high)
        rows = rows[rows % replicas == 0]
        yield Stretch(
            start_s=part.start_s + first * BLOCK_S * speed,
            blocks=min(BLOCKS_PER_STRETCH, blocks - first),
            requests=_batch(traffic, rows, times_s[rows] - start_s),
        )


def _batch(traffic: Traffic, rows: npt.NDArray[np.int64], arrival_s: FloatArray) -> RequestBatch:
    trace, count = traffic.trace, len(rows)
    classes = trace.priority_class
    return RequestBatch(
        arrival_s=arrival_s,
        prompt_tokens=trace.prompt_tokens[rows],
        output_tokens=trace.output_tokens[rows],
        priority_class=np.ones(count, np.int64) if classes is None else classes[rows],
        stream=np.zeros(count, np.int64),
        acceptance_first=traffic.acceptance[rows],
        acceptance_ratio=np.full(count, traffic.acceptance_ratio),
        load_level=1.0,
    )


def write_library(traffic: Traffic, path: Path, *, replicas: int, least_s: float) -> None:
    """Write the earlier traffic to a parquet trace, one behind the other until it lasts so long.

    Planners draw likenesses of requests from it; they see nothing of what comes later.
    """
    trace, part = traffic.trace, traffic.earlier
    rows = np.arange(np.searchsorted(trace.arrival_s, part.end_s))
    rows = rows[rows % replicas == 0]
    span_s = part.end_s - part.start_s
    rounds = int(np.ceil((least_s + BLOCK_S) / span_s)) + 1
    times_s = [trace.arrival_s[rows] + turn * span_s for turn in range(rounds)]
    columns: dict[str, Any] = {
        "timestamp_s": np.concatenate(times_s),
        "prompt_tokens": np.tile(trace.prompt_tokens[rows], rounds),
        "output_tokens": np.tile(trace.output_tokens[rows], rounds),
    }
    if trace.priority_class is not None:
        columns[PRIORITY_COLUMN] = np.tile(trace.priority_class[rows], rounds)
    pq.write_table(pa.table(columns), path)
