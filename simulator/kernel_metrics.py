"""What a window amounts to, computed on the engine's arrays for one environment."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from simulator.jit import inlined
from simulator.kernel_memory import decode_blocks
from simulator.kernel_queue import mark_overdue, oldest_arrival_s
from simulator.kernel_samples import add_itl, add_ttft, median_and_p99
from simulator.state import (
    CLASSES,
    DECIDED_ORDER,
    DROPPED,
    FINISHED,
    FIRST_ORDER,
    HOLD_COMPUTE,
    HOLD_KV,
    HOLD_NONE,
    HOLD_QUEUE,
    HOLD_SWITCHING,
    ITL_SAMPLES,
    NOBODY,
    PERCENTILE_WINDOWS,
    QUEUE_HEAD,
    QUEUE_OVERDUE,
    QUEUE_OVERDUE_TOKENS,
    TOKEN,
    TTFT_SAMPLES,
    Lane,
    Record,
)

# A constraint binds when it held requests back for this share of the window's GPU time.
BINDING_FRACTION = 0.05


@inlined
def measure_window(
    lane: Lane, terms: Record, ledger: npt.NDArray[np.float64], m: Record, window_s: float
) -> None:
    """Fill a METRICS record from what the last window left in the state."""
    _count_arrivals(lane, m, window_s)
    _count_waiting(lane, terms, m)
    _count_decided(lane, terms, m, window_s)
    _measure_latency(lane, terms, m)
    _measure_resources(lane, terms, m, window_s)
    _measure_cost(lane, terms, ledger, m, window_s)
    window = lane.window
    m.output_tps = window.output / TOKEN / window_s
    m.acceptance_fraction = math.nan
    if window.proposed > 0:
        m.acceptance_fraction = window.accepted / window.proposed
    m.preemptions = window.preemptions
    m.switch_remaining_s = max(lane.env.switch_end_s - lane.env.now_s, 0.0)
    m.binding = _binding(lane, window_s)
    m.moved_fraction = min(lane.env.moved_knobs / terms.active_knobs, 1.0)


@inlined
def _count_arrivals(lane: Lane, m: Record, window_s: float) -> None:
    first, last = lane.env.window_arrival, lane.env.next_arrival
    m.arrived, prompt = last - first, 0
    m.arrival_rps = m.arrived / window_s
    m.arrived_0, m.arrived_1, m.arrived_2 = 0, 0, 0
    for index in range(first, last):
        request = lane.requests[index]
        prompt += request.prompt_tokens
        if request.priority_class == 0:
            m.arrived_0 += 1
        elif request.priority_class == 1:
            m.arrived_1 += 1
        else:
            m.arrived_2 += 1
    m.prompt_tokens_mean = prompt / m.arrived if m.arrived > 0 else math.nan


@inlined
def ttft_slo_s(terms: Record, priority_class: int) -> float:
    """The TTFT objective of a class."""
    if priority_class == 0:
        return terms.ttft_slo_s_0
    return terms.ttft_slo_s_1 if priority_class == 1 else terms.ttft_slo_s_2


@inlined
def itl_slo_s(terms: Record, priority_class: int) -> float:
    """The objective on a request's mean inter-token latency."""
    if priority_class == 0:
        return terms.itl_slo_s_0
    return terms.itl_slo_s_1 if priority_class == 1 else terms.itl_slo_s_2


@inlined
def _count_waiting(lane: Lane, terms: Record, m: Record) -> None:
    """Queue depth, and who waits for a first token: the oldest, and those past their objective."""
    now_s, api_s = lane.env.now_s, terms.api_s * lane.env.host_scale
    m.waiting, m.running, m.overdue, m.missed_tokens = 0, 0, 0, 0
    oldest_s = now_s
    for replica in range(lane.fleet.gpus):
        state = lane.replicas[replica]
        m.waiting += state.waiting
        m.running += state.decoding + state.prefilling
        for priority_class in range(CLASSES):
            ends = lane.queues[replica, priority_class]
            mark_overdue(lane, ends, now_s + api_s - ttft_slo_s(terms, priority_class))
            m.overdue += ends[QUEUE_OVERDUE]
            m.missed_tokens += ends[QUEUE_OVERDUE_TOKENS]
            oldest_s = min(oldest_s, oldest_arrival_s(lane, ends[QUEUE_HEAD]))
    index = lane.env.handoff_head
    while index != NOBODY:
        m.running += 1
        index = lane.requests[index].next_waiting
    m.oldest_wait_s = now_s - oldest_s


@inlined
def has_met_slo(request: Record, terms: Record, api_s: float) -> bool:
    """Whether a finished request kept both objectives of its class."""
    if request.first_token_s - request.arrival_s + api_s > ttft_slo_s(
        terms, request.priority_class
    ):
        return False
    gaps = request.output_tokens - 1
    span_s = request.finish_s - request.first_token_s
    return span_s <= gaps * itl_slo_s(terms, request.priority_class)


@inlined
def _count_decided(lane: Lane, terms: Record, m: Record, window_s: float) -> None:
    m.finished, m.rejected, m.dropped, m.met_tokens = 0, 0, 0, 0
    m.decided_0, m.decided_1, m.decided_2 = 0, 0, 0
    m.met_0, m.met_1, m.met_2 = 0, 0, 0
    api_s = terms.api_s * lane.env.host_scale
    for i in range(lane.env.window_decided, lane.env.decided):
        request = lane.requests[lane.orders[DECIDED_ORDER, i]]
        met = 0
        if request.status == FINISHED:
            m.finished += 1
            met = int(has_met_slo(request, terms, api_s))
        elif request.status == DROPPED:
            m.dropped += 1
        else:
            m.rejected += 1
        m.met_tokens += met * request.output_tokens
        m.missed_tokens += (1 - met) * request.output_tokens
        if request.priority_class == 0:
            m.decided_0, m.met_0 = m.decided_0 + 1, m.met_0 + met
        elif request.priority_class == 1:
            m.decided_1, m.met_1 = m.decided_1 + 1, m.met_1 + met
        else:
            m.decided_2, m.met_2 = m.decided_2 + 1, m.met_2 + met
    m.goodput_tps = m.met_tokens / window_s


@inlined
def _measure_latency(lane: Lane, terms: Record, m: Record) -> None:
    api_s = terms.api_s * lane.env.host_scale
    add_ttft(lane, api_s)
    add_itl(lane)
    m.ttft_p50_s, m.ttft_p99_s, m.ttft_samples = median_and_p99(lane, TTFT_SAMPLES)
    m.itl_p50_s, m.itl_p99_s, weight = median_and_p99(lane, ITL_SAMPLES)
    m.itl_tokens = weight // TOKEN
    count, utility = m.overdue, 0.0
    for i in range(lane.env.window_first, lane.env.first_tokens):
        request = lane.requests[lane.orders[FIRST_ORDER, i]]
        ttft_s = request.first_token_s - request.arrival_s + api_s
        utility += _utility(ttft_s / ttft_slo_s(terms, request.priority_class))
        count += 1
    m.ttft_utility = utility / count if count > 0 else 1.0


@inlined
def _utility(ratio: float) -> float:
    """1 up to half the objective, 0.7 at the objective, 0 from twice the objective on."""
    if ratio <= 0.5:
        return 1.0
    if ratio <= 1.0:
        return 1.0 - 0.6 * (ratio - 0.5)
    return max(0.7 * (2.0 - ratio), 0.0)


@inlined
def _measure_resources(lane: Lane, terms: Record, m: Record, window_s: float) -> None:
    env, gpus = lane.env, lane.fleet.gpus
    used = 0
    for replica in range(gpus):
        state = lane.replicas[replica]
        used += decode_blocks(lane, replica, state.steps)
        used += state.prefill_blocks + state.handoff_blocks
    if env.tier == 0:
        weights, pool = terms.weight_bytes_fp16, lane.fleet.pool_blocks_fp16
        m.quality = terms.quality_fp16
    elif env.tier == 1:
        weights, pool = terms.weight_bytes_int8, lane.fleet.pool_blocks_int8
        m.quality = terms.quality_int8
    else:
        weights, pool = terms.weight_bytes_int4, lane.fleet.pool_blocks_int4
        m.quality = terms.quality_int4
    fixed = gpus * (weights + terms.activation_bytes)
    m.kv_used_fraction = min(used / (gpus * pool), 1.0)
    m.memory_used_bytes = fixed + used * terms.block_bytes
    m.memory_reserved_bytes = fixed + gpus * env.budget_blocks * terms.block_bytes
    m.reserved_fraction = m.memory_reserved_bytes / (gpus * terms.memory_limit_bytes)
    m.kv_reserved_fraction = env.budget_blocks / terms.largest_pool_blocks
    m.busy_fraction = min(lane.window.busy_s / (gpus * window_s), 1.0)


@inlined
def _measure_cost(
    lane: Lane, terms: Record, ledger: npt.NDArray[np.float64], m: Record, window_s: float
) -> None:
    """Pay for the share of the GPU whose memory is reserved, busy or not, as slices are leased.

    The dominant-resource share (Ghodsi et al. 2011, NSDI) would be the time in nearly every
    window: a GPU that decodes anything at all is busy, whatever is reserved.
    """
    most = terms.most_reserved_fraction
    m.saved_fraction = (most - m.reserved_fraction) / (most - terms.least_reserved_fraction)
    m.cost_usd = lane.fleet.gpus * terms.usd_per_gpu_s * window_s * m.reserved_fraction
    lane.env.cost_usd += m.cost_usd
    m.cost_total_usd = lane.env.cost_usd
    row = (lane.env.windows - 1) % PERCENTILE_WINDOWS
    ledger[row, 0], ledger[row, 1] = m.cost_usd, lane.window.output / TOKEN
    m.recent_cost_usd, m.recent_tokens = 0.0, 0.0
    for i in range(PERCENTILE_WINDOWS):
        m.recent_cost_usd += ledger[i, 0]
        m.recent_tokens += ledger[i, 1]


@inlined
def _binding(lane: Lane, window_s: float) -> int:
    """What held requests back for longest, if it did for long enough to matter."""
    window = lane.window
    least_s = BINDING_FRACTION * window_s * lane.fleet.gpus
    if window.switching_s * lane.fleet.gpus >= least_s:
        return HOLD_SWITCHING
    best, best_s = HOLD_NONE, least_s
    if window.queue_hold_s >= best_s:
        best, best_s = HOLD_QUEUE, window.queue_hold_s
    if window.kv_hold_s >= best_s:
        best, best_s = HOLD_KV, window.kv_hold_s
    if window.compute_hold_s >= best_s:
        best = HOLD_COMPUTE
    return best
