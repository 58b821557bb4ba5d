"""Prefill/decode split in the compiled engine: KV transfers over one link, in order."""

from __future__ import annotations

import math

from simulator.jit import inlined
from simulator.kernel_memory import add_decode, blocks_for, fits, spare_blocks
from simulator.kernel_queue import decide
from simulator.kernel_stream import deliver_token, note_gap
from simulator.kernel_time import tokens_per_step
from simulator.state import (
    DECODE_REPLICA,
    DROPPED,
    HANDOFF,
    HOLD_KV,
    HOLD_QUEUE,
    IDLE,
    NOBODY,
    PAUSED,
    PREFILL_REPLICA,
    RUNNING,
    TOKEN,
    TOKEN_BITS,
    Lane,
)


@inlined
def hand_off(lane: Lane, index: int, now_s: float) -> None:
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
    deliver_token(lane, index, now_s)
    lane.requests[index].last_token_s = now_s
    lane.env.handoff_moving = NOBODY
    if following != NOBODY:
        _start_transfer(lane, following, now_s)


@inlined
def admit_handoffs(lane: Lane, now_s: float) -> None:
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
            if not fits(lane, DECODE_REPLICA, state.steps + 1, need + spare_blocks(lane, state)):
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
            note_gap(lane, now_s - request.last_token_s, TOKEN)
        request.status, request.last_token_s = RUNNING, math.nan
        add_decode(lane, DECODE_REPLICA, index, env.admissions)
        env.admissions += 1
