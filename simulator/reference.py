"""The engine in plain Python, one decode step at a time: the readable statement of the physics.

It keeps a list of sequences where the compiled engine keeps arrays, adds up blocks and contexts
anew where that one keeps sums, and takes every decode step where that one jumps in closed form.
Tests hold the two equal: counts exactly, times to rounding. Nothing is played with it.
"""

from __future__ import annotations

import math

from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.deployment import StepCosts
from simulator.records import RequestBatch
from simulator.reference_iteration import ReferenceScheduler
from simulator.reference_state import ReferenceWindow, Replica, Request
from simulator.state import QUEUED, REJECTED


class ReferenceEngine(ReferenceScheduler):
    """The simulated engine of one task under given requests."""

    def __init__(self, task: TaskSpec, requests: RequestBatch, costs: StepCosts) -> None:
        """An empty engine in the task's default configuration."""
        super().__init__(task, costs)
        columns = (
            requests.arrival_s,
            requests.prompt_tokens,
            requests.output_tokens,
            requests.priority_class,
            requests.acceptance_first,
            requests.acceptance_ratio,
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.requests = [Request(index, *row) for index, row in enumerate(rows)]
        self.now_s, self.windows, self.arrived = 0.0, 0, 0

    def play_window(self, action: ServeAction) -> ReferenceWindow:
        """Play one window under an action and return what it added up to."""
        self.window = ReferenceWindow()
        self.windows += 1
        self.end_s = self.windows * self.task.window_s
        self._configure(action)
        while (now_s := self._next_event_s()) < self.end_s:
            self._process(now_s)
        for replica in self.replicas:
            self.drop_expired(replica, self.end_s)
        self.now_s = self.end_s
        return self.window

    # Configuration.

    def _configure(self, action: ServeAction) -> None:
        old, self.config = self.config, action
        if (old.quantization_tier, old.prefill_decode_split) == (
            action.quantization_tier,
            action.prefill_decode_split,
        ):
            for replica in self.replicas:
                if replica.free_at_s == math.inf:  # what was held back may fit now
                    replica.free_at_s = self.now_s
            return
        for replica in self.replicas:
            # The step in flight is lost: its sequences had their last token when it began.
            since_s = replica.began_s if replica.is_iterating else self.now_s
            for request in replica.running:
                self.interrupt(request, since_s)
            for request in replica.held:
                self.interrupt(request, self.now_s)
        waiting = [request for request in self.requests if request.status == QUEUED]
        ready_s = self.now_s + self.deployment.profile.switching.stall_s(self.spec.switch_regime)
        depths = [replica.depth for replica in self.replicas]
        self.replicas = [Replica(free_at_s=ready_s, depth=depth) for depth in depths]
        self.link, self.link_free_s = [], math.inf
        for request in waiting:
            self._least_loaded().waiting.append(request)

    # Events.

    def _next_event_s(self) -> float:
        return min(
            self._next_arrival_s(),
            self.link_free_s,
            *(replica.free_at_s for replica in self.replicas),
        )

    def _next_arrival_s(self) -> float:
        if self.arrived == len(self.requests):
            return math.inf
        return self.requests[self.arrived].arrival_s

    def _process(self, now_s: float) -> None:
        """Apply the event at this time, then let the replica that it concerns schedule."""
        if self._next_arrival_s() == now_s:
            replica = self._route_arrival(now_s)
            if replica is None or replica.free_at_s < math.inf:
                return
        elif self.link_free_s == now_s:
            self.finish_transfer(now_s)
            replica = self.replicas[1]
            if replica.free_at_s < math.inf:
                return
        else:
            replica = min(self.replicas, key=lambda each: each.free_at_s)
            if replica.is_iterating:
                self.finish_iteration(replica, now_s)
        self.start_iteration(replica, now_s, self._wake_s(replica))

    def _route_arrival(self, now_s: float) -> Replica | None:
        request = self.requests[self.arrived]
        self.arrived += 1
        if request.prompt_tokens + request.output_tokens > self.spec.max_model_len_tokens:
            self.decide(request, REJECTED, now_s)
            return None
        request.status = QUEUED
        replica = self._least_loaded()
        replica.waiting.append(request)
        return replica

    def _least_loaded(self) -> Replica:
        if self.config.prefill_decode_split:
            return self.replicas[0]
        return min(self.replicas, key=lambda each: len(each.waiting) + len(each.running))

    def _wake_s(self, replica: Replica) -> float:
        """The earliest time at which something from outside may give this replica work."""
        wake_s = self._next_arrival_s()
        if self.config.prefill_decode_split and replica is self.replicas[1]:
            wake_s = min(wake_s, self.replicas[0].free_at_s, self.link_free_s)
        return wake_s
