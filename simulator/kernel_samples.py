"""Latency samples of the last windows in rings, and exact percentiles of them without sorting.

A ring holds samples as they came, and of each the bucket that its value falls into, a 32nd of an
octave. Counting weight by bucket leads to the bucket of a percentile; which of the samples in it is
meant, is found by selection. Sorting would mispredict its branches, and a histogram that is kept
lies scattered in memory; a ring is read from end to end, and all count in the same place.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.jit import inlined
from simulator.state import (
    BUCKETS,
    FIRST_ORDER,
    ITL_SAMPLES,
    MAX_SAMPLES,
    PERCENTILE_WINDOWS,
    STEP_SAMPLES,
    TALLY_OLDEST,
    TALLY_SAMPLES,
    TALLY_WINDOWS,
    TTFT_SAMPLES,
    Lane,
    Records,
)

# The leading bits of a positive float64, exponent and mantissa, rise with its value. So many of the
# mantissa's part an octave; the first bucket begins at 2^-10 s, about a millisecond.
_MANTISSA_BITS: Final = 5
_DROPPED_BITS: Final = 52 - _MANTISSA_BITS
_FIRST_BUCKET: Final = (1023 - 10) << _MANTISSA_BITS


@inlined
def add_ttft(lane: Lane, api_s: float) -> None:
    """Take in the first tokens of this window; samples that are too old go."""
    env = lane.env
    count = min(env.first_tokens - env.window_first, MAX_SAMPLES)
    place = _make_room(lane, TTFT_SAMPLES, count)
    for i in range(count):
        request = lane.requests[lane.orders[FIRST_ORDER, env.window_first + i]]
        ttft_s = request.first_token_s - request.arrival_s + api_s
        place = _add(lane.samples[TTFT_SAMPLES], place, ttft_s, 1)


@inlined
def add_itl(lane: Lane) -> None:
    """Take in the step times of this window; samples that are too old go."""
    steps, count = lane.samples[STEP_SAMPLES], lane.env.step_samples
    place = _make_room(lane, ITL_SAMPLES, count)
    for i in range(count):
        place = _add(lane.samples[ITL_SAMPLES], place, steps[i].value_s, steps[i].weight)


@inlined
def _make_room(lane: Lane, kind: int, count: int) -> int:
    """Forget the window that is too old now; where the room is short, the next oldest, too.

    Returns the place in the ring for the first of so many new samples.
    """
    tally, window = lane.tallies[kind], lane.env.windows
    oldest, kept = tally[TALLY_OLDEST], tally[TALLY_SAMPLES]
    column = window % PERCENTILE_WINDOWS
    newest_column = column
    while True:
        oldest = (oldest + tally[TALLY_WINDOWS + column]) % MAX_SAMPLES
        kept -= tally[TALLY_WINDOWS + column]
        tally[TALLY_WINDOWS + column] = 0
        column = (column + 1) % PERCENTILE_WINDOWS
        if kept + count <= MAX_SAMPLES:
            break
    tally[TALLY_OLDEST], tally[TALLY_SAMPLES] = oldest, kept + count
    tally[TALLY_WINDOWS + newest_column] = count
    return (oldest + kept) % MAX_SAMPLES


@inlined
def _add(ring: Records, place: int, value_s: float, weight: int) -> int:
    """Put a sample into the ring; the place of the next one."""
    sample = ring[place]
    sample.value_s, sample.weight, sample.bucket = value_s, weight, _bucket_of(value_s)
    return (place + 1) % MAX_SAMPLES


@inlined
def _bucket_of(value_s: float) -> int:
    bits = int(np.float64(value_s).view(np.int64)) >> _DROPPED_BITS
    return min(max(bits - _FIRST_BUCKET, 0), BUCKETS - 1)


@inlined
def median_and_p99(lane: Lane, kind: int) -> tuple[float, float, int]:
    """The smallest values that cover 50 % and 99 % of the weight, and the weight; NaN if empty."""
    first, count = lane.tallies[kind, TALLY_OLDEST], lane.tallies[kind, TALLY_SAMPLES]
    if count == 0:
        return math.nan, math.nan, 0
    before_end = min(count, MAX_SAMPLES - first)  # the ring's two parts, each in one stretch
    ring, counts = lane.samples[kind], lane.counts
    counts[:] = 0
    total = _count(ring, first, first + before_end, counts)
    total += _count(ring, 0, count - before_end, counts)
    median_s = _smallest_covering(lane, kind, (total + 1) // 2)
    return median_s, _smallest_covering(lane, kind, (99 * total + 99) // 100), total


@inlined
def _count(ring: Records, first: int, last: int, counts: npt.NDArray[np.int64]) -> int:
    """Add the weights of a stretch of the ring to the buckets'; their sum."""
    total = 0
    for i in range(first, last):
        counts[ring[i].bucket] += ring[i].weight
        total += ring[i].weight
    return total


@inlined
def _smallest_covering(lane: Lane, kind: int, needed: int) -> float:
    """The smallest value such that the samples up to it weigh as much as is needed."""
    bucket = 0
    while lane.counts[bucket] < needed:
        needed -= lane.counts[bucket]
        bucket += 1
    first, count = lane.tallies[kind, TALLY_OLDEST], lane.tallies[kind, TALLY_SAMPLES]
    before_end = min(count, MAX_SAMPLES - first)
    ring, chosen = lane.samples[kind], lane.scratch
    found = _choose(ring, first, first + before_end, bucket, chosen, 0)
    found = _choose(ring, 0, count - before_end, bucket, chosen, found)
    return _select(chosen, found, needed)


@inlined
def _choose(ring: Records, first: int, last: int, bucket: int, chosen: Records, found: int) -> int:
    """Copy what a stretch of the ring holds of a bucket behind what was found; how much that is.

    Copies always and counts what belongs there, since nobody can predict which do.
    """
    for i in range(first, last):
        chosen[found].value_s, chosen[found].weight = ring[i].value_s, ring[i].weight
        found += int(ring[i].bucket == bucket)
    return found


@inlined
def _select(samples: Records, count: int, needed: int) -> float:
    """The smallest value that covers the weight needed, by quickselect; changes their order."""
    first, last = 0, count
    while last - first > 1:
        pivot_s = samples[(first + last) >> 1].value_s
        middle, below = _split(samples, first, last, pivot_s, 0)
        if needed <= below:
            last = middle
            continue
        above, equal = _split(samples, middle, last, pivot_s, 1)
        needed -= below
        if needed <= equal:
            return pivot_s
        needed -= equal
        first = above
    return samples[first].value_s


@inlined
def _split(
    samples: Records, first: int, last: int, pivot_s: float, with_equal: int
) -> tuple[int, int]:
    """Bring values below the pivot, or up to it, to the front; where these end, and their weight.

    Swaps always and counts what belongs in front, since nobody can predict which do.
    """
    middle, weight = first, 0
    for i in range(first, last):
        here, front = samples[i], samples[middle]
        value_s, sample_weight = here.value_s, here.weight
        here.value_s, here.weight = front.value_s, front.weight
        front.value_s, front.weight = value_s, sample_weight
        in_front = int(value_s < pivot_s) + with_equal * int(value_s == pivot_s)
        middle += in_front
        weight += in_front * sample_weight
    return middle, weight
