"""Latency samples of the last windows, kept sorted so that percentiles are exact and cheap."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.state import (
    FIRST_ORDER,
    FRESH_SAMPLES,
    ITL_SAMPLES,
    MAX_SAMPLES,
    PERCENTILE_WINDOWS,
    STEP_SAMPLES,
    TTFT_SAMPLES,
    Lane,
    Records,
)


@inlined
def merge_ttft(lane: Lane, api_s: float) -> None:
    """Bring the first tokens of this window into the sorted TTFT samples."""
    env, fresh = lane.env, lane.samples[FRESH_SAMPLES]
    count = min(env.first_tokens - env.window_first, MAX_SAMPLES)
    for i in range(count):
        request = lane.requests[lane.orders[FIRST_ORDER, env.window_first + i]]
        fresh[i].value_s = request.first_token_s - request.arrival_s + api_s
        fresh[i].weight = 1
    env.ttft_samples = _merge(
        lane.samples[TTFT_SAMPLES], env.ttft_samples, fresh, count, env.windows
    )


@inlined
def merge_itl(lane: Lane) -> None:
    """Bring the step times of this window into the sorted inter-token latencies."""
    env = lane.env
    env.itl_samples = _merge(
        lane.samples[ITL_SAMPLES],
        env.itl_samples,
        lane.samples[STEP_SAMPLES],
        env.step_samples,
        env.windows,
    )


@inlined
def _merge(kept: Records, kept_count: int, fresh: Records, count: int, window: int) -> int:
    """Drop samples that are too old, merge the fresh ones in; return how many there are.

    Where the room is short the oldest windows give way.
    """
    horizon = PERCENTILE_WINDOWS
    kept_count = _drop_old(kept, kept_count, window - horizon)
    while kept_count + count > MAX_SAMPLES:
        horizon -= 1
        kept_count = _drop_old(kept, kept_count, window - horizon)
    _sort(fresh, count)
    i, j = kept_count - 1, count - 1
    while j >= 0:
        if i >= 0 and kept[i].value_s > fresh[j].value_s:
            kept[i + j + 1] = kept[i]
            i -= 1
        else:
            kept[i + j + 1].value_s = fresh[j].value_s
            kept[i + j + 1].weight = fresh[j].weight
            kept[i + j + 1].window = window
            j -= 1
    return kept_count + count


@inlined
def _drop_old(samples: Records, count: int, last_window: int) -> int:
    """Close the gaps that old samples leave; copies always, since nobody can predict which."""
    kept = 0
    for i in range(count):
        samples[kept] = samples[i]
        kept += int(samples[i].window > last_window)
    return kept


@inlined
def _sort(samples: Records, count: int) -> None:
    """Shell sort by value, in place (the windows' samples are few)."""
    gap = 1
    while gap < count // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            value_s, weight, j = samples[i].value_s, samples[i].weight, i
            while j >= gap and samples[j - gap].value_s > value_s:
                samples[j].value_s = samples[j - gap].value_s
                samples[j].weight = samples[j - gap].weight
                j -= gap
            samples[j].value_s, samples[j].weight = value_s, weight
        gap //= 3


@inlined
def median_and_p99(samples: Records, count: int) -> tuple[float, float, int]:
    """The smallest values that cover 50 % and 99 % of the weight, and the weight; NaN if empty."""
    if count == 0:
        return math.nan, math.nan, 0
    total = 0
    for i in range(count):
        total += samples[i].weight
    middle, covered = 0, samples[0].weight
    while 2 * covered < total:
        middle += 1
        covered += samples[middle].weight
    # The largest hundredth of the weight is quicker to walk than the rest.
    high, covered = count - 1, total - samples[count - 1].weight
    while high > 0 and 100 * covered >= 99 * total:
        high -= 1
        covered -= samples[high].weight
    return samples[middle].value_s, samples[high].value_s, total
