"""Step times of the compiled engine: table look-ups and decode runs in closed form."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.state import TOKEN, Lane, Tables


@inlined
def tokens_per_step(first: float, ratio: float, depth: int) -> int:
    """Expected tokens per verification step in 1/1024 tokens: 1 + sum_i prod_{j<i} first*ratio^j.

    Source: Leviathan et al. 2023, arXiv:2211.17192, with position-dependent acceptance.
    """
    total, chain, position = 1.0, 1.0, first
    for _ in range(depth):
        chain *= min(position, 1.0)
        total += chain
        position *= ratio
    return int(total * TOKEN + 0.5)


@inlined
def _attn_prefill_s(tables: Tables, new: int, prefix: int) -> float:
    i, j = int(tables.new_segments[new]), int(tables.prefix_segments[prefix])
    x0, x1 = tables.new_nodes[i], tables.new_nodes[i + 1]
    y0, y1 = tables.prefix_nodes[j], tables.prefix_nodes[j + 1]
    u, v = (new - x0) / (x1 - x0), (prefix - y0) / (y1 - y0)
    z = tables.attn_prefill_s
    low = (1.0 - v) * z[i, j] + v * z[i, j + 1]
    high = (1.0 - v) * z[i + 1, j] + v * z[i + 1, j + 1]
    return (1.0 - u) * low + u * high


@inlined
def prefill_attention_s(lane: Lane, new: int, prefix: int) -> float:
    """Attention time of one prefill chunk above the launch floor that an iteration pays once."""
    above = _attn_prefill_s(lane.tables, new, prefix) - lane.tables.attn_prefill_floor_s
    return max(above, 0.0)


@inlined
def fixed_step_s(lane: Lane, decoding: int, depth: int, prefill_tokens: int, rows: int) -> float:
    """Time of an iteration without its attention: linear layers, head, host and drafting."""
    env, fleet, tables = lane.env, lane.fleet, lane.tables
    tokens = decoding * (depth + 1) + prefill_tokens
    linear = env.linear_scale * (tables.linear_s[env.tier, tokens] + tables.lm_head_s[rows])
    host = fleet.host_s
    if depth > 0 and decoding > 0:
        host += fleet.draft_s * depth + fleet.draft_row_s * (decoding * (depth + 1))
    return linear + env.host_scale * host


@inlined
def decode_attention_s(lane: Lane, decoding: int, context: int) -> float:
    """Attention time of one decode step; context is the sum over sequences in 1/1024 tokens."""
    nodes, row = lane.tables.kv_nodes, lane.tables.attn_decode_s[decoding]
    mean_kv = context / (TOKEN * decoding)
    i = int(lane.tables.kv_segments[int(mean_kv)])
    slope = (row[i + 1] - row[i]) / (nodes[i + 1] - nodes[i])
    return lane.env.attention_scale * (row[i] + slope * (mean_kv - nodes[i]))


@inlined
def _run_s(steps: int, first_s: float, growth_s: float) -> float:
    return steps * first_s + growth_s * (0.5 * steps * (steps - 1))


@inlined
def _steps_to_reach(span_s: float, first_s: float, growth_s: float) -> int:
    """The smallest number of steps, at least 1, whose total time reaches the span."""
    half = first_s - 0.5 * growth_s
    root = math.sqrt(max(half * half + 2.0 * growth_s * span_s, 0.0))
    steps = max(int(2.0 * span_s / (half + root)), 1)
    while _run_s(steps, first_s, growth_s) < span_s:
        steps += 1
    while steps > 1 and _run_s(steps - 1, first_s, growth_s) >= span_s:
        steps -= 1
    return steps


@inlined
def plan_run(
    lane: Lane, replica: int, fixed_s: float, most: int, now_s: float, wake_s: float, end_s: float
) -> tuple[int, float]:
    """How many alike decode steps to run, and when they end.

    The run stops after `most` steps, at the first boundary at or after `wake_s`, and before
    `end_s` unless its first step already crosses it. Within one segment of the attention table
    the step time is linear in the step number, so the sum is exact in closed form.
    """
    state = lane.replicas[replica]
    decoding, rate = state.decoding, state.rate_sum
    context = state.offset_sum + state.steps * rate
    nodes, row = lane.tables.kv_nodes, lane.tables.attn_decode_s[decoding]
    per_step = rate / (TOKEN * decoding)
    stop_s = min(wake_s, end_s)
    steps, clock_s = 0, now_s
    while steps < most:
        mean_kv = (context + steps * rate) / (TOKEN * decoding)
        i = int(lane.tables.kv_segments[int(mean_kv)])
        slope = lane.env.attention_scale * (row[i + 1] - row[i]) / (nodes[i + 1] - nodes[i])
        first_s = fixed_s + lane.env.attention_scale * row[i] + slope * (mean_kv - nodes[i])
        growth_s = slope * per_step
        count = min(int((nodes[i + 1] - mean_kv) / per_step) + 1, most - steps)
        after_s = clock_s + _run_s(count, first_s, growth_s)
        if after_s < stop_s:
            steps, clock_s = steps + count, after_s
            continue
        count = _steps_to_reach(stop_s - clock_s, first_s, growth_s)
        after_s = clock_s + _run_s(count, first_s, growth_s)
        if after_s >= end_s and steps + count > 1:
            count -= 1
            after_s = clock_s + _run_s(count, first_s, growth_s)
        steps, clock_s = steps + count, after_s
        break
    return steps, clock_s
