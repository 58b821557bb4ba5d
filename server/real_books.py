"""Enters what a gateway measured into the engine's arrays, from which metrics and reward follow.

The arrays are the simulator's, and so are the functions that read them: one definition of every
metric and of every term of the reward, for simulated and for real servers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from llmserve_env.models import KNOBS, TIERS, ServeAction
from server.real_calls import Call, WindowEvents
from server.real_failures import Failure
from server.real_queue import Hold
from server.real_vllm_metrics import MetricsSpan
from simulator.records import FloatArray
from simulator.state import (
    DECIDED_ORDER,
    DROPPED,
    FINISHED,
    FIRST_ORDER,
    MAX_SAMPLES,
    NOBODY,
    PERCENTILE_WINDOWS,
    QUEUE_HEAD,
    QUEUE_IN_TIME,
    QUEUE_OVERDUE,
    QUEUE_TAIL,
    QUEUED,
    REJECTED,
    RUNNING,
    STEP_SAMPLES,
    TOKEN,
    WINDOW,
    State,
)

# Gaps between tokens beyond this many a window are joined with their neighbours in size, so that
# ten windows always fit.
MAX_GAPS: Final = MAX_SAMPLES // (PERCENTILE_WINDOWS + 1)
# A server whose mean is at this share of a limit is held up by it: requests leave and come.
CAP_SHARE: Final = 0.9


class EpisodeBooks:
    """Writes one real episode into environment 0 of a state."""

    def __init__(self, state: State) -> None:
        """Take a state into which the episode's requests were entered."""
        self._state = state

    def put_in_force(self, action: ServeAction, before: ServeAction, *, pool_tokens: int) -> None:
        """Enter a configuration; it counts as moved by every knob that differs from `before`."""
        env = self._state.environments[0]
        env["batch_cap"] = action.batch_cap
        env["kv_budget_fraction"] = action.kv_budget_fraction
        env["speculation_depth"] = action.speculation_depth
        env["tier"] = TIERS.index(action.quantization_tier)
        env["split"] = action.prefill_decode_split
        env["priority"] = action.priority_routing
        env["budget_blocks"] = int(action.kv_budget_fraction * pool_tokens)
        env["moved_knobs"] = sum(getattr(action, k) != getattr(before, k) for k in KNOBS)

    def close_window(
        self, events: WindowEvents, held_s: dict[Hold, float], *, end_s: float
    ) -> None:
        """Enter what a window brought.

        Args:
            events: Since the last window was closed.
            held_s: What kept requests waiting, for how long.
            end_s: The end of the window.
        """
        env = self._state.environments[0]
        env["window_arrival"] = env["next_arrival"]
        env["next_arrival"] += events.arrived
        env["now_s"] = end_s
        env["windows"] += 1
        self._enter_first_tokens(events.first_tokens)
        self._enter_decided(events.decided)
        self._enter_gaps(events.gaps)
        window = self._state.windows[0:1]
        window[0] = np.zeros((), WINDOW)
        window["output"] = events.output_tokens * TOKEN
        window["prefill_tokens"] = events.prompt_tokens
        window["queue_hold_s"] = held_s[Hold.CAP]
        window["kv_hold_s"] = held_s[Hold.TOKENS]

    def enter_line(self, waiting: tuple[Call, ...], in_flight: tuple[Call, ...]) -> None:
        """Enter who waits here and who is at the server, and who of both has no token yet.

        The lists of the waiting hold everybody without a first token: at a real server a request
        that was sent may still wait in a queue that nobody here can see.
        """
        self._state.queues[0] = NOBODY
        self._state.queues[0, ..., QUEUE_OVERDUE:] = 0  # counted anew from the lists
        replica = self._state.replicas[0, 0:1]
        replica["waiting"] = len(waiting)
        replica["prefilling"] = len(in_flight)
        replica["prefill_blocks"] = sum(call.reserved_tokens for call in in_flight)
        for call in waiting:
            self._write(call, QUEUED)
        for call in in_flight:
            self._write(call, RUNNING)
        silent = [call for call in (*waiting, *in_flight) if not call.has_first_token]
        for call in sorted(silent, key=lambda each: each.index):
            self._append(call)

    def enter_server(self, span: MetricsSpan, action: ServeAction, *, pool_tokens: int) -> None:
        """Enter what a server tells of itself, in place of what the gateway supposes.

        Args:
            span: Of the window. What it does not tell stays as it was entered.
            action: In force.
            pool_tokens: What the server's KV cache holds.
        """
        replica, window = self._state.replicas[0, 0:1], self._state.windows[0:1]
        replica["waiting"] += round(span.waiting_last)
        replica["prefilling"] = round(span.running_last)
        replica["prefill_blocks"] = round(span.kv_usage_fraction * pool_tokens)
        window["preemptions"] = round(span.preemptions)
        if span.draft_tokens > 0:
            window["proposed"] = round(span.draft_tokens) * TOKEN
            window["accepted"] = round(span.accepted_tokens) * TOKEN
        held_s = span.waiting_share * span.duration_s
        if span.running >= CAP_SHARE * action.batch_cap:
            window["queue_hold_s"] = held_s
        elif span.kv_usage_fraction >= CAP_SHARE * action.kv_budget_fraction:
            window["kv_hold_s"] = held_s

    def _append(self, call: Call) -> None:
        queue = self._state.queues[0, 0, call.priority_class]
        requests = self._state.requests[0]
        if queue[QUEUE_HEAD] == NOBODY:
            queue[QUEUE_HEAD] = queue[QUEUE_IN_TIME] = call.index
        else:
            requests["next_waiting"][queue[QUEUE_TAIL]] = call.index
        requests["next_waiting"][call.index] = NOBODY
        queue[QUEUE_TAIL] = call.index

    def _enter_first_tokens(self, calls: list[Call]) -> None:
        env, order = self._state.environments[0], self._state.orders[0, FIRST_ORDER]
        env["window_first"] = first = int(env["first_tokens"])
        for place, call in enumerate(calls, start=first):
            order[place] = call.index
            self._write(call, RUNNING)
        env["first_tokens"] = first + len(calls)

    def _enter_decided(self, calls: list[Call]) -> None:
        env, order = self._state.environments[0], self._state.orders[0, DECIDED_ORDER]
        env["window_decided"] = first = int(env["decided"])
        for place, call in enumerate(calls, start=first):
            order[place] = call.index
            self._write(call, _status(call))
        env["decided"] = first + len(calls)

    def _write(self, call: Call, status: int) -> None:
        row = self._state.requests[0, call.index : call.index + 1]
        row["status"] = status
        row["output_tokens"] = call.output_tokens
        row["generated"] = call.tokens * TOKEN
        row["admitted_s"] = call.admitted_s
        row["first_token_s"] = call.first_token_s
        row["finish_s"] = call.finish_s

    def _enter_gaps(self, gaps: list[tuple[float, int]]) -> None:
        values_s, tokens = joined_gaps(gaps)
        samples = self._state.samples[0, STEP_SAMPLES, : len(values_s)]
        samples["value_s"], samples["weight"] = values_s, tokens * TOKEN
        self._state.environments[0]["step_samples"] = len(values_s)


def joined_gaps(gaps: list[tuple[float, int]]) -> tuple[FloatArray, FloatArray]:
    """Gaps in order of size and their tokens, MAX_GAPS at most.

    Where there are more, neighbours in size become one, as large as the larger of them: a
    percentile is then too large by less than 0.3 % of its rank.
    """
    if not gaps:
        return np.empty(0), np.empty(0)
    values_s, tokens = np.array(sorted(gaps), np.float64).T
    stride = math.ceil(len(values_s) / MAX_GAPS)
    starts = np.arange(0, len(values_s), stride)
    lasts = np.minimum(starts + stride, len(values_s)) - 1
    return values_s[lasts], np.add.reduceat(tokens, starts)


def _status(call: Call) -> int:
    if call.failure is None:
        return FINISHED
    return REJECTED if call.failure is Failure.CONTEXT_TOO_LONG else DROPPED
