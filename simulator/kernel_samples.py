"""Latency samples of the last windows, in buckets by value: exact percentiles without sorting.

Each kind of samples has a ring, in which they lie as they came, and a histogram over it. Buckets
are narrow, a 64th of an octave, and the samples of a bucket are linked, the newest first. Counting
weights leads to the bucket of a percentile; which of its few samples it is, is found among them.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from simulator.jit import inlined
from simulator.state import (
    BUCKETS,
    FIRST_ORDER,
    GROUP_BUCKETS,
    ITL_SAMPLES,
    MAX_SAMPLES,
    PERCENTILE_WINDOWS,
    SCRATCH_SAMPLES,
    STEP_SAMPLES,
    TALLY_GROUPS,
    TALLY_OLDEST,
    TALLY_SAMPLES,
    TALLY_WEIGHT,
    TALLY_WINDOWS,
    TTFT_SAMPLES,
    Lane,
    Records,
)

# The leading bits of a positive float64, exponent and mantissa, rise with its value. So many of the
# mantissa's part an octave; the first bucket begins at 2^-10 s, about a millisecond.
_MANTISSA_BITS: Final = 6
_DROPPED_BITS: Final = 52 - _MANTISSA_BITS
_FIRST_BUCKET: Final = (1023 - 10) << _MANTISSA_BITS


@inlined
def add_ttft(lane: Lane, api_s: float) -> None:
    """Take in the first tokens of this window; samples that are too old go."""
    env = lane.env
    count = min(env.first_tokens - env.window_first, MAX_SAMPLES)
    _make_room(lane, TTFT_SAMPLES, count)
    for i in range(count):
        request = lane.requests[lane.orders[FIRST_ORDER, env.window_first + i]]
        _add(lane, TTFT_SAMPLES, request.first_token_s - request.arrival_s + api_s, 1)


@inlined
def add_itl(lane: Lane) -> None:
    """Take in the step times of this window; samples that are too old go."""
    steps = lane.samples[STEP_SAMPLES]
    _make_room(lane, ITL_SAMPLES, lane.env.step_samples)
    for i in range(lane.env.step_samples):
        _add(lane, ITL_SAMPLES, steps[i].value_s, steps[i].weight)


@inlined
def _make_room(lane: Lane, kind: int, count: int) -> None:
    """Forget the window that is too old now; where the room is short, the next oldest, too."""
    tally, window = lane.tallies[kind], lane.env.windows
    _forget_window(lane, kind, window % PERCENTILE_WINDOWS)
    oldest = window
    while tally[TALLY_SAMPLES] + count > MAX_SAMPLES:
        oldest += 1
        _forget_window(lane, kind, oldest % PERCENTILE_WINDOWS)
    tally[TALLY_WINDOWS + window % PERCENTILE_WINDOWS] = count


@inlined
def _forget_window(lane: Lane, kind: int, column: int) -> None:
    """Take the oldest window's samples out of the histogram; they are at the ends of their lists.

    Args:
        lane: Of the environment.
        kind: Of samples.
        column: Of the window's count.
    """
    ring, tally, buckets = lane.samples[kind], lane.tallies[kind], lane.buckets[kind]
    place, count, total = tally[TALLY_OLDEST], tally[TALLY_WINDOWS + column], 0
    for _ in range(count):
        sample = ring[place]
        at = _bucket_of(sample.value_s)
        buckets[at].samples -= 1
        buckets[at].weight -= sample.weight
        tally[TALLY_GROUPS + at // GROUP_BUCKETS] -= sample.weight
        total += sample.weight
        place = (place + 1) % MAX_SAMPLES
    tally[TALLY_OLDEST] = place
    tally[TALLY_SAMPLES] -= count
    tally[TALLY_WEIGHT] -= total
    tally[TALLY_WINDOWS + column] = 0


@inlined
def _add(lane: Lane, kind: int, value_s: float, weight: int) -> None:
    ring, tally, buckets = lane.samples[kind], lane.tallies[kind], lane.buckets[kind]
    place = (tally[TALLY_OLDEST] + tally[TALLY_SAMPLES]) % MAX_SAMPLES
    at = _bucket_of(value_s)
    sample, bucket = ring[place], buckets[at]
    sample.value_s, sample.weight, sample.older = value_s, weight, bucket.newest
    bucket.newest = place
    bucket.samples += 1
    bucket.weight += weight
    tally[TALLY_GROUPS + at // GROUP_BUCKETS] += weight
    tally[TALLY_SAMPLES] += 1
    tally[TALLY_WEIGHT] += weight


@inlined
def _bucket_of(value_s: float) -> int:
    bits = int(np.float64(value_s).view(np.int64)) >> _DROPPED_BITS
    return min(max(bits - _FIRST_BUCKET, 0), BUCKETS - 1)


@inlined
def median_and_p99(lane: Lane, kind: int) -> tuple[float, float, int]:
    """The smallest values that cover 50 % and 99 % of the weight, and the weight; NaN if empty."""
    total = lane.tallies[kind, TALLY_WEIGHT]
    if total == 0:
        return math.nan, math.nan, 0
    median_s = _smallest_covering(lane, kind, (total + 1) // 2)
    return median_s, _smallest_covering(lane, kind, (99 * total + 99) // 100), total


@inlined
def _smallest_covering(lane: Lane, kind: int, needed: int) -> float:
    """The smallest value such that the samples up to it weigh as much as is needed."""
    groups, buckets = lane.tallies[kind, TALLY_GROUPS:], lane.buckets[kind]
    group = 0
    while groups[group] < needed:
        needed -= groups[group]
        group += 1
    at = group * GROUP_BUCKETS
    while buckets[at].weight < needed:
        needed -= buckets[at].weight
        at += 1
    ring, scratch = lane.samples[kind], lane.samples[SCRATCH_SAMPLES]
    place, count = buckets[at].newest, buckets[at].samples
    for i in range(count):
        scratch[i].value_s, scratch[i].weight = ring[place].value_s, ring[place].weight
        place = ring[place].older
    return _select(scratch, count, needed)


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
