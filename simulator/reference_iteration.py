"""One replica's iteration in plain Python: memory, scheduling, step times, what a step does."""

from __future__ import annotations

import math

from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.deployment import StepCosts, build_deployment
from simulator.reference_state import ReferenceWindow, Replica, Request
from simulator.state import DROPPED, FINISHED, HANDOFF, QUEUED, RUNNING, TOKEN


class ReferenceScheduler:
    """Schedules and times iterations; ReferenceEngine drives it with events."""

    def __init__(self, task: TaskSpec, costs: StepCosts) -> None:
        """An empty scheduler in the task's default configuration."""
        self.task, self.costs = task, costs
        self.deployment = build_deployment(task)
        self.spec, self.serving = task.deployment, self.deployment.profile.serving
        self.replicas = [Replica() for _ in range(task.deployment.gpus)]
        self.config: ServeAction = task.default_action
        self.window = ReferenceWindow()
        self.end_s, self.admissions = 0.0, 0
        self.link: list[Request] = []  # in transfer, its head moving until link_free_s
        self.link_free_s = math.inf

    @property
    def budget_blocks(self) -> int:
        """KV blocks per replica that may be used."""
        pool = self.deployment.pool_blocks(self.config.quantization_tier)
        return int(self.config.kv_budget_fraction * pool)

    def decide(self, request: Request, status: int, now_s: float) -> None:
        """Close a request: finished, rejected or dropped."""
        request.status, request.finish_s = status, now_s

    def interrupt(self, request: Request, now_s: float) -> None:
        """Its KV is lost; the text it has is kept and its context will be recomputed."""
        request.status = QUEUED
        request.preemptions += 1
        self.window.preemptions += 1
        if request.first_token_s is not None and request.last_token_s is None:
            request.last_token_s = now_s

    def drop_expired(self, replica: Replica, now_s: float) -> None:
        """Per class, drop from the head what has waited too long for its first token."""
        for priority_class in range(3):
            for request in [r for r in replica.waiting if r.priority_class == priority_class]:
                deadline_s = request.arrival_s + self.spec.queue_timeout_s
                if request.first_token_s is not None or deadline_s > now_s:
                    break
                replica.waiting.remove(request)
                self.decide(request, DROPPED, now_s)

    def _blocks(self, tokens: int) -> int:
        return math.ceil(tokens / self.serving.kv_block_tokens)

    def _fits(self, replica: Replica, extra_blocks: int) -> bool:
        """Whether one more decode step and so many blocks more stay within the KV budget."""
        used = sum(self._blocks(request.prefill_target + 1) for request in replica.prefilling)
        used += sum(self._blocks(request.context // TOKEN) for request in replica.held)
        for request in replica.decoding:
            used += self._blocks((request.context + request.rate(replica.depth)) // TOKEN)
        return used + extra_blocks <= self.budget_blocks

    def _spare_blocks(self, replica: Replica) -> int:
        if not replica.running and not replica.held:
            return 0
        return int(self.serving.admission_watermark_fraction * self.budget_blocks)

    def _make_room(self, replica: Replica, now_s: float) -> bool:
        """Preempt the last admitted (lowest class first under priority) until a step fits."""
        has_preempted = False
        while replica.running and not self._fits(replica, 0):
            alone = len(replica.running) == 1 and not replica.held
            is_ranked = self.config.priority_routing
            victim = max(
                replica.running,
                key=lambda each: (each.priority_class if is_ranked else 0, each.sequence),
            )
            (replica.decoding if victim in replica.decoding else replica.prefilling).remove(victim)
            if alone:
                self.decide(victim, DROPPED, now_s)
            else:
                self.interrupt(victim, now_s)
                home = self.replicas[0] if self.config.prefill_decode_split else replica
                self._put_back(home, victim)
                if home is not replica and home.free_at_s == math.inf:
                    home.free_at_s = now_s
            has_preempted = True
        return has_preempted

    @staticmethod
    def _put_back(replica: Replica, request: Request) -> None:
        replica.waiting.append(request)
        replica.waiting.sort(key=lambda each: each.index)

    # Scheduling: decodes first, then prefill chunks, then admissions (vLLM v1).

    def start_iteration(self, replica: Replica, now_s: float, wake_s: float) -> None:
        """Decide what the replica does next and until when; it idles if there is nothing."""
        self.drop_expired(replica, now_s)
        replica.depth = self._effective_depth(len(replica.decoding))
        has_preempted = self._make_room(replica, now_s) and bool(replica.running)
        is_decoder = self.config.prefill_decode_split and replica is self.replicas[1]
        if is_decoder and not has_preempted:
            self._admit_handoffs(now_s)
            replica.depth = self._effective_depth(len(replica.decoding))
        budget = self.spec.token_budget - len(replica.decoding) * (replica.depth + 1)
        for request in replica.prefilling:
            request.prefill_chunk = min(request.prefill_target - request.prefill_done, budget)
            budget -= request.prefill_chunk
        if not has_preempted:
            self._admit(replica, budget, now_s)
        replica.is_iterating, replica.began_s = bool(replica.running), now_s
        replica.free_at_s, replica.steps_in_flight = math.inf, 0
        if replica.prefilling:
            replica.steps_in_flight = 1 if replica.decoding else 0
            replica.free_at_s = now_s + self._iteration_s(replica, replica.contexts)
        elif replica.decoding:
            self._plan_decodes(replica, now_s, wake_s)
        if replica.is_iterating:
            self.window.iterations += max(replica.steps_in_flight, 1)

    def _effective_depth(self, decoding: int) -> int:
        """Drafts are trimmed so that an eighth of the token budget is left for prefill."""
        if decoding == 0:
            return self.config.speculation_depth
        most = (self.spec.token_budget - self.spec.token_budget // 8) // decoding - 1
        return max(min(self.config.speculation_depth, most), 0)

    def _first_waiting(self, replica: Replica) -> Request | None:
        is_ranked = self.config.priority_routing
        return min(
            replica.waiting,
            key=lambda each: (each.priority_class if is_ranked else 0, each.index),
            default=None,
        )

    def _admit(self, replica: Replica, budget: int, now_s: float) -> None:
        """Admit while slots, KV and token budget last; the whole context's blocks are reserved."""
        while (request := self._first_waiting(replica)) is not None:
            target = request.context // TOKEN
            need = self._blocks(target + 1)
            if need > self.budget_blocks:
                replica.waiting.remove(request)
                self.decide(request, DROPPED, now_s)
                continue
            if len(replica.running) >= self.config.batch_cap or budget <= 0:
                break
            if not self._fits(replica, need + self._spare_blocks(replica)):
                break
            replica.waiting.remove(request)
            replica.prefilling.append(request)
            request.status, request.sequence = RUNNING, self.admissions
            self.admissions += 1
            if request.admitted_s is None:
                request.admitted_s = now_s
            request.prefill_target, request.prefill_done = target, 0
            request.prefill_chunk = min(target, budget)
            budget -= request.prefill_chunk

    def _admit_handoffs(self, now_s: float) -> None:
        """Transferred requests join the decode replica in order, as slots and KV allow."""
        prefill, decode = self.replicas
        while prefill.held and prefill.held[0] not in self.link:
            request = prefill.held[0]
            need = self._blocks((request.context + request.rate(decode.depth)) // TOKEN)
            if need <= self.budget_blocks and (
                len(decode.decoding) >= self.config.batch_cap
                or not self._fits(decode, need + self._spare_blocks(decode))
            ):
                break
            prefill.held.remove(request)
            if not prefill.is_iterating and prefill.waiting and prefill.free_at_s == math.inf:
                prefill.free_at_s = now_s
            if need > self.budget_blocks:
                self.decide(request, DROPPED, now_s)
                continue
            if request.last_token_s is not None and now_s > request.last_token_s:
                self.window.gaps.append((now_s - request.last_token_s, TOKEN))
            request.status, request.last_token_s = RUNNING, None
            request.sequence = self.admissions
            self.admissions += 1
            decode.decoding.append(request)

    # Time.

    def _iteration_s(self, replica: Replica, context: int) -> float:
        """One iteration: linear layers, head, attention, host and drafting, each scaled."""
        perf, batch, depth = self.deployment.perf, len(replica.decoding), replica.depth
        chunks = [(each.prefill_chunk, each.prefill_done) for each in replica.prefilling]
        finishing = sum(
            e.prefill_done + e.prefill_chunk == e.prefill_target for e in replica.prefilling
        )
        tokens = batch * (depth + 1) + sum(new for new, _ in chunks)
        linear_s = perf.linear_time_s(self.config.quantization_tier, tokens)
        linear_s += perf.lm_head_time_s(batch * (depth + 1) + finishing)
        attention_s = perf.iteration_prefill_attention_s(chunks)
        if batch:
            attention_s += perf.attn_decode_time_s(batch, context / (TOKEN * batch))
        host_s = self.serving.host_s
        if depth and batch:
            host_s += self.serving.draft_s * depth
            host_s += self.serving.draft_row_s * batch * (depth + 1)
        costs = self.costs
        return costs.linear * linear_s + costs.attention * attention_s + costs.host * host_s

    def _plan_decodes(self, replica: Replica, now_s: float, wake_s: float) -> None:
        """Decode until a request is done, an event or the window's end comes, or KV is full."""
        contexts = [request.context for request in replica.decoding]
        rates = [request.rate(replica.depth) for request in replica.decoding]
        targets = [r.context + r.output_tokens * TOKEN - r.generated for r in replica.decoding]
        clock_s, steps = now_s, 0
        while True:
            step_s = self._iteration_s(replica, sum(contexts))
            if steps > 0 and clock_s + step_s >= self.end_s:
                break
            clock_s += step_s
            steps += 1
            contexts = [old + rate for old, rate in zip(contexts, rates, strict=True)]
            following = [old + rate for old, rate in zip(contexts, rates, strict=True)]
            if any(now >= target for now, target in zip(contexts, targets, strict=True)):
                break
            if clock_s >= wake_s:
                break
            if sum(self._blocks(tokens // TOKEN) for tokens in following) > self._room(replica):
                break
        replica.free_at_s, replica.steps_in_flight = clock_s, steps

    def _room(self, replica: Replica) -> int:
        return self.budget_blocks - sum(self._blocks(r.context // TOKEN) for r in replica.held)

    # Effects.

    def finish_iteration(self, replica: Replica, now_s: float) -> None:
        """Apply the iteration or run in flight at the time it ends."""
        steps, window = replica.steps_in_flight, self.window
        if steps > 0:
            rates = [request.rate(replica.depth) for request in replica.decoding]
            tokens, batch = steps * sum(rates), len(rates)
            window.output += tokens
            window.proposed += steps * batch * replica.depth * TOKEN
            window.accepted += tokens - steps * batch * TOKEN
            step_s = (now_s - replica.began_s) / steps
            window.gaps.append((step_s * batch * TOKEN / sum(rates), tokens))
            for request, rate in zip(list(replica.decoding), rates, strict=True):
                request.generated += steps * rate
                if request.generated >= request.output_tokens * TOKEN:
                    replica.decoding.remove(request)
                    self._finish_request(request, now_s)
        for request in list(replica.prefilling):
            window.prefill_tokens += request.prefill_chunk
            request.prefill_done += request.prefill_chunk
            request.prefill_chunk = 0
            if request.prefill_done == request.prefill_target:
                replica.prefilling.remove(request)
                self._finish_prefill(replica, request, now_s)

    def _finish_request(self, request: Request, now_s: float) -> None:
        self.window.output -= request.generated - request.output_tokens * TOKEN
        request.generated = request.output_tokens * TOKEN
        self.decide(request, FINISHED, now_s)

    def _finish_prefill(self, replica: Replica, request: Request, now_s: float) -> None:
        """The context is computed: it yields one token, then decodes, moves or is done."""
        request.generated += TOKEN
        self.window.output += TOKEN
        if request.generated >= request.output_tokens * TOKEN:
            self._deliver_token(request, now_s)
            self._finish_request(request, now_s)
        elif self.config.prefill_decode_split:
            request.status = HANDOFF
            replica.held.append(request)
            self.link.append(request)
            if len(self.link) == 1:
                self._start_transfer(now_s)
        else:
            self._deliver_token(request, now_s)
            replica.decoding.append(request)

    def _deliver_token(self, request: Request, now_s: float) -> None:
        if request.first_token_s is None:
            request.first_token_s = now_s
        elif request.last_token_s is not None:
            self.window.gaps.append((now_s - request.last_token_s, TOKEN))
        request.last_token_s = None

    def _start_transfer(self, now_s: float) -> None:
        fleet = self.deployment.fleet[0]
        tokens = self.link[0].context // TOKEN
        transfer_s = float(fleet["transfer_s"]) + float(fleet["transfer_token_s"]) * tokens
        self.link_free_s = now_s + transfer_s

    def finish_transfer(self, now_s: float) -> None:
        """The KV at the head of the link has arrived; its token is delivered, the next starts."""
        request = self.link.pop(0)
        self._deliver_token(request, now_s)
        request.last_token_s, self.link_free_s = now_s, math.inf
        if self.link:
            self._start_transfer(now_s)
