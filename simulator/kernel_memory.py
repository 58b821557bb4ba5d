"""KV-cache accounting of the compiled engine: blocks, preemption and running slots."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.kernel_queue import decide, enqueue
from simulator.kernel_time import tokens_per_step
from simulator.state import (
    DECODE_FINISH_STEP,
    DECODE_OFFSET,
    DECODE_RATE,
    DECODE_REQUEST,
    DECODE_SEQUENCE,
    DROPPED,
    IDLE,
    NEVER,
    NOBODY,
    PAUSED,
    PREFILL_CHUNK,
    PREFILL_DONE,
    PREFILL_REPLICA,
    PREFILL_REQUEST,
    PREFILL_SEQUENCE,
    PREFILL_TARGET,
    TOKEN,
    TOKEN_BITS,
    Lane,
    Record,
)


@inlined
def _parts(whole: int, size: int) -> int:
    """How many parts of a size hold the whole, at least 0.

    Floats divide several times faster than integers, and exactly so below 2^52.
    """
    return int((whole + size - 1) / size)


@inlined
def blocks_for(lane: Lane, tokens: int) -> int:
    """KV blocks that hold this many tokens."""
    return _parts(tokens, lane.fleet.block_tokens)


@inlined
def decode_blocks(lane: Lane, replica: int, steps: int) -> int:
    """Blocks that the decoding sequences hold once `steps` decode steps are done in all."""
    offset = lane.slots[replica, DECODE_OFFSET]
    rate = lane.slots[replica, DECODE_RATE]
    block, total = lane.fleet.block_tokens, 0
    for i in range(lane.replicas[replica].decoding):
        tokens = (offset[i] + steps * rate[i]) >> TOKEN_BITS
        total += _parts(tokens, block)
    return total


@inlined
def fits(lane: Lane, replica: int, steps: int, extra_blocks: int) -> bool:
    """Whether the replica stays within its KV budget after `steps`, with so many blocks more."""
    state = lane.replicas[replica]
    room = lane.env.budget_blocks - extra_blocks - state.prefill_blocks - state.handoff_blocks
    tokens = (state.offset_sum + steps * state.rate_sum) >> TOKEN_BITS
    block = lane.fleet.block_tokens
    if tokens + (block - 1) * state.decoding < (room + 1) * block:
        return True  # even if every sequence had just opened a new block
    if tokens - state.decoding >= (room + 1) * block:
        return False  # even if every block were full
    return decode_blocks(lane, replica, steps) <= room


@inlined
def spare_blocks(lane: Lane, state: Record) -> int:
    """Blocks that an admission must leave free, so that it is not preempted at once (vLLM)."""
    if state.decoding + state.prefilling == 0 and state.handoff_blocks == 0:
        return 0
    return int(lane.fleet.watermark_fraction * lane.env.budget_blocks)


@inlined
def add_decode(lane: Lane, replica: int, index: int, sequence: int) -> None:
    """Start decoding a request whose context is computed."""
    state, slots, request = lane.replicas[replica], lane.slots[replica], lane.requests[index]
    rate = tokens_per_step(request.acceptance_first, request.acceptance_ratio, state.depth)
    left = request.output_tokens * TOKEN - request.generated
    offset = request.prompt_tokens * TOKEN + request.generated - state.steps * rate
    i = state.decoding
    slots[DECODE_REQUEST, i] = index
    slots[DECODE_RATE, i] = rate
    slots[DECODE_OFFSET, i] = offset
    slots[DECODE_FINISH_STEP, i] = state.steps + _parts(left, rate)
    slots[DECODE_SEQUENCE, i] = sequence
    state.soonest_finish = min(state.soonest_finish, slots[DECODE_FINISH_STEP, i])
    state.decoding += 1
    state.offset_sum += offset
    state.rate_sum += rate


@inlined
def remove_decode(lane: Lane, replica: int, slot: int) -> int:
    """Take a sequence out of the decoding slots, write its progress back, return its request."""
    state, slots = lane.replicas[replica], lane.slots[replica]
    index = slots[DECODE_REQUEST, slot]
    offset, rate = slots[DECODE_OFFSET, slot], slots[DECODE_RATE, slot]
    finish_step = slots[DECODE_FINISH_STEP, slot]
    request = lane.requests[index]
    request.generated = offset + state.steps * rate - request.prompt_tokens * TOKEN
    state.offset_sum -= offset
    state.rate_sum -= rate
    state.decoding -= 1
    last = state.decoding
    for row in range(DECODE_REQUEST, DECODE_SEQUENCE + 1):
        slots[row, slot] = slots[row, last]
    if finish_step == state.soonest_finish:
        state.soonest_finish = _soonest_finish(lane, replica)
    return index


@inlined
def _soonest_finish(lane: Lane, replica: int) -> int:
    finish_step, soonest = lane.slots[replica, DECODE_FINISH_STEP], NEVER
    for i in range(lane.replicas[replica].decoding):
        soonest = min(soonest, finish_step[i])
    return soonest


@inlined
def set_depth(lane: Lane, replica: int, depth: int) -> None:
    """Restate every decoding sequence for another speculation depth."""
    state, slots = lane.replicas[replica], lane.slots[replica]
    count, state.depth = state.decoding, depth
    state.offset_sum, state.rate_sum = 0, 0
    for i in range(count):
        request = lane.requests[slots[DECODE_REQUEST, i]]
        context = slots[DECODE_OFFSET, i] + state.steps * slots[DECODE_RATE, i]
        rate = tokens_per_step(request.acceptance_first, request.acceptance_ratio, depth)
        left = (request.prompt_tokens + request.output_tokens) * TOKEN - context
        slots[DECODE_RATE, i] = rate
        slots[DECODE_OFFSET, i] = context - state.steps * rate
        slots[DECODE_FINISH_STEP, i] = state.steps + _parts(left, rate)
        state.offset_sum += slots[DECODE_OFFSET, i]
        state.rate_sum += rate
    state.soonest_finish = _soonest_finish(lane, replica)


@inlined
def add_prefill(lane: Lane, replica: int, index: int, target: int) -> None:
    """Admit a request: reserve the blocks of its whole context and queue it for prefill."""
    state, slots = lane.replicas[replica], lane.slots[replica]
    i = state.prefilling
    slots[PREFILL_REQUEST, i] = index
    slots[PREFILL_DONE, i] = 0
    slots[PREFILL_TARGET, i] = target
    slots[PREFILL_CHUNK, i] = 0
    slots[PREFILL_SEQUENCE, i] = lane.env.admissions
    lane.env.admissions += 1
    state.prefilling += 1
    state.prefill_blocks += blocks_for(lane, target + 1)


@inlined
def remove_prefill(lane: Lane, replica: int, slot: int) -> int:
    """Take a sequence out of the prefill slots, keeping the others' order; return its request."""
    state, slots = lane.replicas[replica], lane.slots[replica]
    index = slots[PREFILL_REQUEST, slot]
    state.prefill_blocks -= blocks_for(lane, slots[PREFILL_TARGET, slot] + 1)
    state.prefilling -= 1
    for row in range(PREFILL_REQUEST, PREFILL_SEQUENCE + 1):
        for i in range(slot, state.prefilling):
            slots[row, i] = slots[row, i + 1]
    return index


@inlined
def requeue(lane: Lane, replica: int, index: int, now_s: float) -> None:
    """Send a request whose KV was dropped back to wait for recomputation."""
    request = lane.requests[index]
    request.preemptions += 1
    lane.window.preemptions += 1
    if not math.isnan(request.first_token_s) and math.isnan(request.last_token_s):
        request.last_token_s = now_s
    home = PREFILL_REPLICA if lane.env.split else replica
    enqueue(lane, home, index)
    state = lane.replicas[home]
    if home != replica and state.mode == IDLE:
        state.mode, state.free_at_s = PAUSED, now_s


@inlined
def _victim(lane: Lane, replica: int) -> int:
    """Who is preempted: the last admitted, the lowest class first under priority routing.

    Returns the slot if it decodes and the slot + the number of decoding slots if it prefills.
    """
    state, slots = lane.replicas[replica], lane.slots[replica]
    best, best_class, best_sequence = NOBODY, NOBODY, NOBODY
    for i in range(state.decoding + state.prefilling):
        row, slot = (
            (DECODE_REQUEST, i) if i < state.decoding else (PREFILL_REQUEST, i - state.decoding)
        )
        index = slots[row, slot]
        sequence = slots[row + DECODE_SEQUENCE - DECODE_REQUEST, slot]
        rank = lane.requests[index].priority_class if lane.env.priority else 0
        if rank > best_class or (rank == best_class and sequence > best_sequence):
            best, best_class, best_sequence = i, rank, sequence
    return best


@inlined
def make_room(lane: Lane, replica: int, now_s: float) -> bool:
    """Preempt until the next decode step fits the KV budget; True if anyone was preempted.

    A request that is alone and still does not fit can never be served: it is dropped.
    """
    state, preempted = lane.replicas[replica], False
    while state.decoding + state.prefilling > 0 and not fits(lane, replica, state.steps + 1, 0):
        alone = state.decoding + state.prefilling == 1 and state.handoff_blocks == 0
        slot = _victim(lane, replica)
        if slot < state.decoding:
            index = remove_decode(lane, replica, slot)
        else:
            index = remove_prefill(lane, replica, slot - state.decoding)
        if alone:
            decide(lane, index, DROPPED, now_s)
        else:
            requeue(lane, replica, index, now_s)
        preempted = True
    return preempted
