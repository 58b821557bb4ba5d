"""One iteration of a replica in the compiled engine: schedule and launch it, apply what it did."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.kernel_handoff import admit_handoffs, hand_off
from simulator.kernel_memory import (
    add_decode,
    add_prefill,
    blocks_for,
    fits,
    make_room,
    remove_decode,
    remove_prefill,
    set_depth,
    spare_blocks,
)
from simulator.kernel_queue import decide, drop_expired, first_waiting, remove_head
from simulator.kernel_stream import deliver_token, finish_request, note_gap
from simulator.kernel_time import (
    decode_attention_s,
    fixed_step_s,
    plan_run,
    prefill_attention_s,
)
from simulator.state import (
    DECODE_FINISH_STEP,
    DECODE_REPLICA,
    DROPPED,
    HOLD_COMPUTE,
    HOLD_KV,
    HOLD_NONE,
    HOLD_QUEUE,
    IDLE,
    ITERATING,
    NOBODY,
    PREFILL_CHUNK,
    PREFILL_DONE,
    PREFILL_SEQUENCE,
    PREFILL_TARGET,
    RUNNING,
    TOKEN,
    TOKEN_BITS,
    Lane,
)


@inlined
def note_activity(lane: Lane, replica: int, since_s: float, end_s: float) -> None:
    """Count the part of the iteration in flight that lies in this window, and what it held back."""
    state, window = lane.replicas[replica], lane.window
    span_s = min(state.free_at_s, end_s) - since_s
    window.busy_s += span_s
    if state.hold == HOLD_QUEUE:
        window.queue_hold_s += span_s
    elif state.hold == HOLD_KV:
        window.kv_hold_s += span_s
    elif state.hold == HOLD_COMPUTE:
        window.compute_hold_s += span_s


@inlined
def _admit(lane: Lane, replica: int, budget: int, now_s: float) -> int:
    """Admit waiting requests while slots, KV and token budget last; return the budget left."""
    env, state = lane.env, lane.replicas[replica]
    while True:
        index = first_waiting(lane, replica)
        if index == NOBODY:
            break
        request = lane.requests[index]
        target = request.prompt_tokens + (request.generated >> TOKEN_BITS)
        need = blocks_for(lane, target + 1)
        if need > env.budget_blocks:
            remove_head(lane, replica, index)
            decide(lane, index, DROPPED, now_s)
            continue
        if state.decoding + state.prefilling >= env.batch_cap:
            state.hold = HOLD_QUEUE
            break
        if budget <= 0:
            state.hold = HOLD_COMPUTE
            break
        if not fits(lane, replica, state.steps + 1, need + spare_blocks(lane, state)):
            state.hold = HOLD_KV
            break
        remove_head(lane, replica, index)
        request.status = RUNNING
        if math.isnan(request.admitted_s):
            request.admitted_s = now_s
        add_prefill(lane, replica, index, target)
        chunk = min(target, budget)
        lane.slots[replica, PREFILL_CHUNK, state.prefilling - 1] = chunk
        budget -= chunk
    return budget


@inlined
def _trim_depth(lane: Lane, replica: int) -> None:
    """Speculate as deep as asked, but leave an eighth of the token budget for prefill."""
    state, budget = lane.replicas[replica], lane.fleet.token_budget
    depth, most = lane.env.speculation_depth, budget - budget // 8
    if depth > 0 and state.decoding * (depth + 1) > most:
        depth = max(most // state.decoding - 1, 0)
    if depth != state.depth:
        set_depth(lane, replica, depth)


@inlined
def start_iteration(lane: Lane, replica: int, now_s: float, wake_s: float, end_s: float) -> None:
    """Schedule what the replica does next: decodes first, then prefill chunks, then admissions."""
    state, slots = lane.replicas[replica], lane.slots[replica]
    state.hold = HOLD_NONE
    drop_expired(lane, replica, now_s)
    _trim_depth(lane, replica)
    has_preempted = make_room(lane, replica, now_s) and state.decoding + state.prefilling > 0
    if lane.env.split and replica == DECODE_REPLICA and not has_preempted:
        admit_handoffs(lane, now_s)
        _trim_depth(lane, replica)
    budget = lane.fleet.token_budget - state.decoding * (state.depth + 1)
    for i in range(state.prefilling):
        chunk = min(slots[PREFILL_TARGET, i] - slots[PREFILL_DONE, i], budget)
        slots[PREFILL_CHUNK, i] = chunk
        budget -= chunk
    if has_preempted:
        state.hold = HOLD_KV
    else:
        _admit(lane, replica, budget, now_s)
    if state.decoding + state.prefilling == 0:
        state.mode, state.free_at_s = IDLE, math.inf
        return
    state.mode, state.began_s = ITERATING, now_s
    if state.prefilling > 0:
        _launch_mixed(lane, replica, now_s)
    else:
        _launch_decodes(lane, replica, now_s, wake_s, end_s)
    lane.window.iterations += max(state.run_steps, 1)
    note_activity(lane, replica, now_s, end_s)


@inlined
def _launch_mixed(lane: Lane, replica: int, now_s: float) -> None:
    """One iteration with prefill chunks in it."""
    state, slots = lane.replicas[replica], lane.slots[replica]
    tokens, finishing, attention_s = 0, 0, lane.tables.attn_prefill_floor_s
    for i in range(state.prefilling):
        chunk, done = slots[PREFILL_CHUNK, i], slots[PREFILL_DONE, i]
        tokens += chunk
        finishing += done + chunk == slots[PREFILL_TARGET, i]
        attention_s += prefill_attention_s(lane, chunk, done)
    rows = state.decoding * (state.depth + 1) + finishing
    time_s = fixed_step_s(lane, state.decoding, state.depth, tokens, rows)
    time_s += lane.env.attention_scale * attention_s
    if state.decoding > 0:
        context = state.offset_sum + state.steps * state.rate_sum
        time_s += decode_attention_s(lane, state.decoding, context)
    state.run_steps = 1 if state.decoding > 0 else 0
    state.free_at_s = now_s + time_s


@inlined
def _launch_decodes(lane: Lane, replica: int, now_s: float, wake_s: float, end_s: float) -> None:
    """A run of decode steps up to the next finish, event, full cache or window end."""
    state = lane.replicas[replica]
    rows = state.decoding * (state.depth + 1)
    fixed_s = fixed_step_s(lane, state.decoding, state.depth, 0, rows)
    most = state.soonest_finish - state.steps
    steps, free_at_s = plan_run(lane, replica, fixed_s, most, now_s, wake_s, end_s)
    if not fits(lane, replica, state.steps + steps, 0):
        low, high = 1, steps
        while high - low > 1:
            middle = (low + high) >> 1
            if fits(lane, replica, state.steps + middle, 0):
                low = middle
            else:
                high = middle
        steps, free_at_s = plan_run(lane, replica, fixed_s, low, now_s, wake_s, end_s)
    state.run_steps, state.free_at_s = steps, free_at_s


@inlined
def finish_iteration(lane: Lane, replica: int, now_s: float) -> None:
    """Apply what the iteration or run in flight did, at the time it ends."""
    state, slots, window = lane.replicas[replica], lane.slots[replica], lane.window
    if state.run_steps > 0:
        steps = state.run_steps
        state.steps += steps
        tokens = steps * state.rate_sum
        window.output += tokens
        window.proposed += steps * state.decoding * state.depth * TOKEN
        window.accepted += tokens - steps * state.decoding * TOKEN
        step_s = (now_s - state.began_s) / steps
        note_gap(lane, step_s * (state.decoding * TOKEN / state.rate_sum), tokens)
        i = 0
        while state.soonest_finish <= state.steps:
            while slots[DECODE_FINISH_STEP, i] > state.steps:
                i += 1
            finish_request(lane, remove_decode(lane, replica, i), now_s)
    i = 0
    while i < state.prefilling:
        window.prefill_tokens += slots[PREFILL_CHUNK, i]
        slots[PREFILL_DONE, i] += slots[PREFILL_CHUNK, i]
        slots[PREFILL_CHUNK, i] = 0
        if slots[PREFILL_DONE, i] == slots[PREFILL_TARGET, i]:
            sequence = slots[PREFILL_SEQUENCE, i]
            _finish_prefill(lane, replica, remove_prefill(lane, replica, i), sequence, now_s)
        else:
            i += 1


@inlined
def _finish_prefill(lane: Lane, replica: int, index: int, sequence: int, now_s: float) -> None:
    """A context is computed: it yields one token, then the request decodes, moves or is done."""
    request = lane.requests[index]
    request.generated += TOKEN
    lane.window.output += TOKEN
    if request.generated >= request.output_tokens * TOKEN:
        deliver_token(lane, index, now_s)
        finish_request(lane, index, now_s)
    elif lane.env.split:
        hand_off(lane, index, now_s)
    else:
        deliver_token(lane, index, now_s)
        add_decode(lane, replica, index, sequence)
