"""One window of continuous batching for one environment: the event loop and configuration changes.

A discrete-event simulation. Events are arrivals, the end of an iteration (or of a run of alike
decode steps) on each replica, and the end of a KV transfer.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from simulator.jit import inlined
from simulator.kernel_handoff import finish_transfer
from simulator.kernel_iteration import (
    finish_iteration,
    note_activity,
    start_iteration,
)
from simulator.kernel_memory import remove_decode, remove_prefill
from simulator.kernel_queue import (
    clear_list,
    drop_expired,
    enqueue,
    least_loaded,
    route_arrival,
)
from simulator.state import (
    ACTION_BATCH_CAP,
    ACTION_DEPTH,
    ACTION_KV_BUDGET,
    ACTION_PRIORITY,
    ACTION_SPLIT,
    ACTION_TIER,
    CLASSES,
    DECODE_REPLICA,
    FINISHED,
    IDLE,
    ITERATING,
    NOBODY,
    PAUSED,
    PREFILL_REPLICA,
    QUEUED,
    Lane,
    Record,
)


@inlined
def play_window(lane: Lane, action: npt.NDArray[np.float64], window_s: float) -> None:
    """Advance one environment by one window under a row of action columns."""
    env = lane.env
    end_s = (env.windows + 1) * window_s
    _open_window(lane)
    _configure(lane, action)
    lane.window.switching_s = max(min(env.switch_end_s, end_s) - env.now_s, 0.0)
    for replica in range(lane.fleet.gpus):
        if lane.replicas[replica].mode == ITERATING:
            note_activity(lane, replica, env.now_s, end_s)
    _run_events(lane, end_s)
    for replica in range(lane.fleet.gpus):
        drop_expired(lane, replica, end_s)
    env.now_s = end_s
    env.windows += 1


@inlined
def _open_window(lane: Lane) -> None:
    env, window = lane.env, lane.window
    env.window_first, env.window_decided = env.first_tokens, env.decided
    env.window_arrival, env.step_samples = env.next_arrival, 0
    window.output, window.prefill_tokens, window.preemptions = 0, 0, 0
    window.proposed, window.accepted, window.iterations = 0, 0, 0
    window.busy_s, window.queue_hold_s, window.kv_hold_s = 0.0, 0.0, 0.0
    window.compute_hold_s, window.switching_s = 0.0, 0.0


@inlined
def _run_events(lane: Lane, end_s: float) -> None:
    """Process all events before the end of the window in order of time."""
    env, replicas = lane.env, lane.replicas
    while True:
        arrival_s = _next_arrival_s(lane)
        link_s = env.link_free_s if env.handoff_moving != NOBODY else math.inf
        replica = 0
        if lane.fleet.gpus > 1 and replicas[1].free_at_s < replicas[0].free_at_s:
            replica = 1
        free_at_s = replicas[replica].free_at_s
        now_s = min(arrival_s, link_s, free_at_s)
        if now_s >= end_s:
            break
        if arrival_s == now_s:
            replica = route_arrival(lane)
            if replica == NOBODY or replicas[replica].mode != IDLE:
                continue
        elif link_s == now_s:
            finish_transfer(lane, now_s)
            replica = DECODE_REPLICA
            if replicas[replica].mode != IDLE:
                continue
        elif replicas[replica].mode == ITERATING:
            finish_iteration(lane, replica, now_s)
        start_iteration(lane, replica, now_s, _wake_s(lane, replica), end_s)


@inlined
def _next_arrival_s(lane: Lane) -> float:
    if lane.env.next_arrival >= lane.env.requests:
        return math.inf
    return lane.requests[lane.env.next_arrival].arrival_s


@inlined
def _wake_s(lane: Lane, replica: int) -> float:
    """The earliest time at which something from outside may give this replica work."""
    wake_s = _next_arrival_s(lane)
    if lane.env.split and replica == DECODE_REPLICA:
        wake_s = min(wake_s, lane.replicas[0].free_at_s)
        if lane.env.handoff_moving != NOBODY:
            wake_s = min(wake_s, lane.env.link_free_s)
    return wake_s


@inlined
def _configure(lane: Lane, action: npt.NDArray[np.float64]) -> None:
    """Put an action into force; a new tier or layout stops the engine for the switching time."""
    env = lane.env
    tier, split = int(action[ACTION_TIER]), int(action[ACTION_SPLIT])
    env.moved_knobs = _moved_knobs(env, action)
    must_switch = tier != env.tier or split != env.split
    env.batch_cap = int(action[ACTION_BATCH_CAP])
    env.kv_budget_fraction = action[ACTION_KV_BUDGET]
    env.speculation_depth = int(action[ACTION_DEPTH])
    env.priority = int(action[ACTION_PRIORITY])
    env.tier = tier
    pool = (
        lane.fleet.pool_blocks_fp16
        if tier == 0
        else lane.fleet.pool_blocks_int8
        if tier == 1
        else lane.fleet.pool_blocks_int4
    )
    env.budget_blocks = int(env.kv_budget_fraction * pool)
    if must_switch:
        _evacuate(lane)
        env.split = split
        if lane.fleet.gpus > 1:
            _requeue_all(lane)
        env.switch_end_s = env.now_s + lane.fleet.switch_s
    for replica in range(lane.fleet.gpus):
        state = lane.replicas[replica]
        if must_switch:
            state.mode, state.free_at_s = PAUSED, env.switch_end_s
        elif state.mode == IDLE:
            # What was held back may fit under the new configuration.
            state.mode, state.free_at_s = PAUSED, env.now_s


@inlined
def _moved_knobs(env: Record, action: npt.NDArray[np.float64]) -> int:
    """How many of the six knobs differ from the configuration in force."""
    return (
        int(env.batch_cap != action[ACTION_BATCH_CAP])
        + int(env.kv_budget_fraction != action[ACTION_KV_BUDGET])
        + int(env.speculation_depth != action[ACTION_DEPTH])
        + int(env.tier != action[ACTION_TIER])
        + int(env.split != action[ACTION_SPLIT])
        + int(env.priority != action[ACTION_PRIORITY])
    )


@inlined
def _evacuate(lane: Lane) -> None:
    """Abandon what runs: progress is kept as text, its KV is lost and will be recomputed."""
    for replica in range(lane.fleet.gpus):
        state = lane.replicas[replica]
        # The step in flight is lost: its sequences had their last token when it began.
        since_s = state.began_s if state.mode == ITERATING else lane.env.now_s
        while state.decoding > 0:
            _interrupt(lane, remove_decode(lane, replica, state.decoding - 1), since_s)
        while state.prefilling > 0:
            _interrupt(lane, remove_prefill(lane, replica, state.prefilling - 1), since_s)
        state.handoff_blocks = 0
    index = lane.env.handoff_head
    while index != NOBODY:
        following = lane.requests[index].next_waiting
        _interrupt(lane, index, lane.env.now_s)
        index = following
    lane.env.handoff_head, lane.env.handoff_tail = NOBODY, NOBODY
    lane.env.handoff_moving = NOBODY


@inlined
def _interrupt(lane: Lane, index: int, since_s: float) -> None:
    request = lane.requests[index]
    request.preemptions += 1
    lane.window.preemptions += 1
    if not math.isnan(request.first_token_s) and math.isnan(request.last_token_s):
        request.last_token_s = since_s
    if lane.fleet.gpus > 1:
        request.status = QUEUED  # for the lists that are built anew
    else:
        enqueue(lane, PREFILL_REPLICA, index)


@inlined
def _requeue_all(lane: Lane) -> None:
    """Build the waiting lists anew for the layout in force."""
    for replica in range(lane.fleet.gpus):
        lane.replicas[replica].waiting = 0
        for priority_class in range(CLASSES):
            clear_list(lane.queues[replica, priority_class])
    first, last = lane.env.first_open, lane.env.next_arrival
    while first < last and lane.requests[first].status >= FINISHED:
        first += 1
    lane.env.first_open = first
    for index in range(first, last):
        if lane.requests[index].status == QUEUED:
            enqueue(lane, least_loaded(lane), index)
