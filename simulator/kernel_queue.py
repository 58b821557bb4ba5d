"""Waiting lists of the compiled engine: one list per replica and class, in order of arrival.

Requests are indexed in order of arrival, so a list sorted by index is in order of arrival also
when a preempted request comes back. First come, first served takes the lowest index over the
classes; priority routing takes the first class that waits.

Whoever waits past the objective of its class is at the front of its list, and stays there until it
leaves: the list counts its overdue requests as they come and go, and long lists need no walk.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from simulator.jit import inlined
from simulator.state import (
    CLASSES,
    DECIDED_ORDER,
    DROPPED,
    NOBODY,
    PREFILL_REPLICA,
    QUEUE_HEAD,
    QUEUE_IN_TIME,
    QUEUE_OVERDUE,
    QUEUE_OVERDUE_TOKENS,
    QUEUE_TAIL,
    QUEUED,
    REJECTED,
    Lane,
    Record,
)


@inlined
def clear_list(ends: npt.NDArray[np.int64]) -> None:
    """Empty a waiting list."""
    ends[QUEUE_HEAD], ends[QUEUE_TAIL], ends[QUEUE_IN_TIME] = NOBODY, NOBODY, NOBODY
    ends[QUEUE_OVERDUE], ends[QUEUE_OVERDUE_TOKENS] = 0, 0


@inlined
def _count_overdue(ends: npt.NDArray[np.int64], request: Record, sign: int) -> None:
    """A request joins (sign 1) or leaves (-1) the front of its list that is past the objective."""
    if math.isnan(request.first_token_s):
        ends[QUEUE_OVERDUE] += sign
        ends[QUEUE_OVERDUE_TOKENS] += sign * request.output_tokens


@inlined
def mark_overdue(lane: Lane, ends: npt.NDArray[np.int64], deadline_s: float) -> None:
    """Count those of a list that arrived before a deadline, which must never move back."""
    index = ends[QUEUE_IN_TIME]
    while index != NOBODY and lane.requests[index].arrival_s < deadline_s:
        _count_overdue(ends, lane.requests[index], 1)
        index = lane.requests[index].next_waiting
    ends[QUEUE_IN_TIME] = index


@inlined
def oldest_arrival_s(lane: Lane, head: int) -> float:
    """When the first of a list arrived that still waits for its first token; infinity if none."""
    index = head
    while index != NOBODY:
        if math.isnan(lane.requests[index].first_token_s):
            return lane.requests[index].arrival_s
        index = lane.requests[index].next_waiting
    return math.inf


@inlined
def enqueue(lane: Lane, replica: int, index: int) -> None:
    """Put a request into its class's list, at its place by arrival."""
    request = lane.requests[index]
    ends = lane.queues[replica, request.priority_class]
    request.status = QUEUED
    lane.replicas[replica].waiting += 1
    if ends[QUEUE_HEAD] == NOBODY or index > ends[QUEUE_TAIL]:
        request.next_waiting = NOBODY
        if ends[QUEUE_HEAD] == NOBODY:
            ends[QUEUE_HEAD] = index
        else:
            lane.requests[ends[QUEUE_TAIL]].next_waiting = index
        ends[QUEUE_TAIL] = index
        if ends[QUEUE_IN_TIME] == NOBODY:
            ends[QUEUE_IN_TIME] = index
        return
    before, after = NOBODY, ends[QUEUE_HEAD]
    while after < index:
        before, after = after, lane.requests[after].next_waiting
    request.next_waiting = after
    if before == NOBODY:
        ends[QUEUE_HEAD] = index
    else:
        lane.requests[before].next_waiting = index
    if after == ends[QUEUE_IN_TIME]:
        ends[QUEUE_IN_TIME] = index
    elif after < ends[QUEUE_IN_TIME] or ends[QUEUE_IN_TIME] == NOBODY:
        _count_overdue(ends, request, 1)


@inlined
def first_waiting(lane: Lane, replica: int) -> int:
    """The request to serve next on this replica, or NOBODY."""
    best = NOBODY
    if lane.replicas[replica].waiting == 0:
        return best
    for priority_class in range(CLASSES):
        head = lane.queues[replica, priority_class, QUEUE_HEAD]
        if head == NOBODY:
            continue
        if lane.env.priority:
            return head
        if best == NOBODY or head < best:
            best = head
    return best


@inlined
def remove_head(lane: Lane, replica: int, index: int) -> None:
    """Take a request that heads its class's list out of it."""
    request = lane.requests[index]
    ends = lane.queues[replica, request.priority_class]
    ends[QUEUE_HEAD] = request.next_waiting
    lane.replicas[replica].waiting -= 1
    if index == ends[QUEUE_IN_TIME]:
        ends[QUEUE_IN_TIME] = request.next_waiting
    else:
        _count_overdue(ends, request, -1)


@inlined
def decide(lane: Lane, index: int, status: int, now_s: float) -> None:
    """Close a request: finished, rejected or dropped."""
    request = lane.requests[index]
    request.status = status
    request.finish_s = now_s
    lane.orders[DECIDED_ORDER, lane.env.decided] = index
    lane.env.decided += 1


@inlined
def drop_expired(lane: Lane, replica: int, now_s: float) -> None:
    """Drop what has waited too long for its first token; looks at the heads of the lists."""
    if lane.replicas[replica].waiting == 0:
        return
    for priority_class in range(CLASSES):
        head = lane.queues[replica, priority_class, QUEUE_HEAD]
        while head != NOBODY:
            request = lane.requests[head]
            has_started = not math.isnan(request.first_token_s)
            if has_started or request.arrival_s + lane.fleet.queue_timeout_s > now_s:
                break
            remove_head(lane, replica, head)
            decide(lane, head, DROPPED, now_s)
            head = lane.queues[replica, priority_class, QUEUE_HEAD]


@inlined
def least_loaded(lane: Lane) -> int:
    """The replica that takes new requests: the prefill replica, or the one with fewest in hand."""
    if lane.env.split or lane.fleet.gpus == 1:
        return PREFILL_REPLICA
    a, b = lane.replicas[0], lane.replicas[1]
    load_a = a.waiting + a.decoding + a.prefilling
    load_b = b.waiting + b.decoding + b.prefilling
    return 0 if load_a <= load_b else 1


@inlined
def route_arrival(lane: Lane) -> int:
    """Send the next arrival to a replica and return which, or reject it and return NOBODY."""
    index = lane.env.next_arrival
    lane.env.next_arrival += 1
    request = lane.requests[index]
    tokens = request.prompt_tokens + request.output_tokens
    if tokens > lane.fleet.max_model_len_tokens:
        decide(lane, index, REJECTED, request.arrival_s)
        return NOBODY
    replica = least_loaded(lane)
    enqueue(lane, replica, index)
    return replica
