"""Tokens reaching their clients in the compiled engine: first tokens, gaps and the last one."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.kernel_queue import decide
from simulator.state import FINISHED, FIRST_ORDER, MAX_SAMPLES, STEP_SAMPLES, TOKEN, Lane


@inlined
def note_gap(lane: Lane, gap_s: float, weight: int) -> None:
    """Record an inter-token latency for so many 1/1024 tokens; the last slot takes what is left."""
    i = min(lane.env.step_samples, MAX_SAMPLES - 1)
    sample = lane.samples[STEP_SAMPLES, i]
    if lane.env.step_samples < MAX_SAMPLES:
        sample.value_s, sample.weight = gap_s, weight
        lane.env.step_samples += 1
    else:
        total = sample.weight + weight
        sample.value_s += (gap_s - sample.value_s) * (weight / total)
        sample.weight = total


@inlined
def deliver_token(lane: Lane, index: int, now_s: float) -> None:
    """The token that a prefill yields reaches the client: the first, or the next after a gap."""
    request = lane.requests[index]
    if math.isnan(request.first_token_s):
        request.first_token_s = now_s
        lane.orders[FIRST_ORDER, lane.env.first_tokens] = index
        lane.env.first_tokens += 1
    elif not math.isnan(request.last_token_s):
        note_gap(lane, now_s - request.last_token_s, TOKEN)
    request.last_token_s = math.nan


@inlined
def finish_request(lane: Lane, index: int, now_s: float) -> None:
    """Close a request that has all its tokens; what speculation overshot was never output."""
    request = lane.requests[index]
    lane.window.output -= request.generated - request.output_tokens * TOKEN
    request.generated = request.output_tokens * TOKEN
    decide(lane, index, FINISHED, now_s)
