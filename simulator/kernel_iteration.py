"""One iteration of a replica in the compiled engine: schedule and launch it, apply what it did."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.kernel_memory import (
    add_decode,
    add_prefill,
    blocks_for,
    fits,
    make_room,
    remove_decode,
    remove_prefill,
    set_depth,
)
from simulator.kernel_queue import decide, drop_expired, first_waiting, remove_head
from simulator.kernel_time import (
    decode_attention_s,
    fixed_step_s,
    plan_run,
    prefill_attention_s,
    tokens_per_step,
)
from simulator.state import (
    DECODE_FINISH_STEP,
    DECODE_REPLICA,
    DROPPED,
    FINISHED,
    FIRST_ORDER,
    HANDOFF,
    HOLD_COMPUTE,
    HOLD_KV,
    HOLD_NONE,
    HOLD_QUEUE,
    IDLE,
    ITERATING,
    MAX_SAMPLES,
    NOBODY,
    PAUSED,
    PREFILL_CHUNK,
    PREFILL_DONE,
    PREFILL_REPLICA,
    PREFILL_SEQUENCE,
    PREFILL_TARGET,
    RUNNING,
    STEP_SAMPLES,
    TOKEN,
    TOKEN_BITS,
    Lane,
    Record,
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
def _note_gap(lane: Lane, gap_s: float, weight: int) -> None:
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
def _deliver_token(lane: Lane, index: int, now_s: float) -> None:
    """The token that a prefill yields reaches the client: the first, or the next after a gap."""
    request = lane.requests[index]
    if math.isnan(request.first_token_s):
        request.first_token_s = now_s
        lane.orders[FIRST_ORDER, lane.env.first_tokens] = index
        lane.env.first_tokens += 1
    elif not math.isnan(request.last_token_s):
        _note_gap(lane, now_s - request.last_token_s, TOKEN)
    request.last_token_s = math.nan


@inlined
def _finish_request(lane: Lane, index: int, now_s: float) -> None:
    """Close a request that has all its tokens; what speculation overshot was never output."""
    request = lane.requests[index]
    lane.window.output -= request.generated - request.output_tokens * TOKEN
    request.generated = request.output_tokens * TOKEN
    decide(lane, index, FINISHED, now_s)


@inlined
def _hand_off(lane: Lane, index: int, now_s: float) -> None:
    """Queue a prefilled request for the transfer of its KV to the decode replica."""
    env, request = lane.env, lane.requests[index]
    request.status, request.next_waiting = HANDOFF, NOBODY
    if env.handoff_head == NOBODY:
        env.handoff_head = index
    else:
        lane.requests[env.handoff_tail].next_waiting = index
    env.handoff_tail = index
    lane.replicas[PREFILL_REPLICA].handoff_blocks += _held_blocks(lane, index)
    if env.handoff_moving == NOBODY:
        _start_transfer(lane, index, now_s)


@inlined
def _held_blocks(lane: Lane, index: int) -> int:
    request = lane.requests[index]
    return blocks_for(lane, request.prompt_tokens + (request.generated >> TOKEN_BITS))


@inlined
def _next_step_blocks(lane: Lane, index: int, depth: int) -> int:
    """Blocks that a request holds once it has taken its next decode step."""
    request = lane.requests[index]
    rate = tokens_per_step(request.acceptance_first, request.acceptance_ratio, depth)
    return blocks_for(lane, request.prompt_tokens + ((request.generated + rate) >> TOKEN_BITS))


@inlined
def _start_transfer(lane: Lane, index: int, now_s: float) -> None:
    request = lane.requests[index]
    tokens = request.prompt_tokens + (request.generated >> TOKEN_BITS)
    lane.env.handoff_moving = index
    lane.env.link_free_s = now_s + lane.fleet.transfer_s + lane.fleet.transfer_token_s * tokens


@inlined
def finish_transfer(lane: Lane, now_s: float) -> None:
    """The KV at the head of the link has arrived: its token is delivered, the next one starts."""
    index = lane.env.handoff_moving
    following = lane.requests[index].next_waiting
    _deliver_token(lane, index, now_s)
    lane.requests[index].last_token_s = now_s
    lane.env.handoff_moving = NOBODY
    if following != NOBODY:
        _start_transfer(lane, following, now_s)


@inlined
def _admit_handoffs(lane: Lane, now_s: float) -> None:
    """Let transferred requests join the decode replica in order, as slots and KV allow."""
    env, state = lane.env, lane.replicas[DECODE_REPLICA]
    prefill = lane.replicas[PREFILL_REPLICA]
    while env.handoff_head != NOBODY and env.handoff_head != env.handoff_moving:
        index = env.handoff_head
        request, need = lane.requests[index], _next_step_blocks(lane, index, state.depth)
        can_ever_fit = need <= env.budget_blocks
        if can_ever_fit:
            if state.decoding >= env.batch_cap:
                state.hold = HOLD_QUEUE
                break
            if not fits(lane, DECODE_REPLICA, state.steps + 1, need + _spare_blocks(lane, state)):
                state.hold = HOLD_KV
                break
        env.handoff_head = request.next_waiting
        prefill.handoff_blocks -= _held_blocks(lane, index)
        if prefill.mode == IDLE and prefill.waiting > 0:
            prefill.mode, prefill.free_at_s = PAUSED, now_s
        if not can_ever_fit:
            decide(lane, index, DROPPED, now_s)
            continue
        if now_s > request.last_token_s:
            _note_gap(lane, now_s - request.last_token_s, TOKEN)
        request.status, request.last_token_s = RUNNING, math.nan
        add_decode(lane, DECODE_REPLICA, index, env.admissions)
        env.admissions += 1


@inlined
def _spare_blocks(lane: Lane, state: Record) -> int:
    """Blocks that an admission must leave free, so that it is not preempted at once (vLLM)."""
    if state.decoding + state.prefilling == 0 and state.handoff_blocks == 0:
        return 0
    return int(lane.fleet.watermark_fraction * lane.env.budget_blocks)


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
        if not fits(lane, replica, state.steps + 1, need + _spare_blocks(lane, state)):
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
    depth = lane.env.speculation_depth
    if state.decoding > 0:
        depth = max(min(depth, (budget - budget // 8) // state.decoding - 1), 0)
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
        _admit_handoffs(lane, now_s)
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
    finish_step = lane.slots[replica, DECODE_FINISH_STEP]
    soonest = finish_step[0]
    for i in range(1, state.decoding):
        soonest = min(soonest, finish_step[i])
    rows = state.decoding * (state.depth + 1)
    fixed_s = fixed_step_s(lane, state.decoding, state.depth, 0, rows)
    most = soonest - state.steps
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
        _note_gap(lane, step_s * (state.decoding * TOKEN / state.rate_sum), tokens)
        i = 0
        while i < state.decoding:
            if slots[DECODE_FINISH_STEP, i] <= state.steps:
                _finish_request(lane, remove_decode(lane, replica, i), now_s)
            else:
                i += 1
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
        _deliver_token(lane, index, now_s)
        _finish_request(lane, index, now_s)
    elif lane.env.split:
        _hand_off(lane, index, now_s)
    else:
        _deliver_token(lane, index, now_s)
        add_decode(lane, replica, index, sequence)
