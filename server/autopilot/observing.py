"""Readings of a live server -> what a policy sees, in the terms of the environment it knows.

What no metric tells is None. Some fields follow from others: ESTIMATED names these estimates.

- Arrivals are what ended plus what the server holds more than before. The queue's oldest request
  came, in order of arrival, when as many had come since as wait now; who waits past the TTFT
  objective is counted the same way.
- A request's objectives are about both latencies; the histograms tell each alone. Compliance is the
  smaller of the two shares, which is never too low.
- Percentiles are read off buckets (see histograms.py) and are as coarse as these.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from llmserve_env.models import BindingConstraint, RealObservation, ServeAction
from llmserve_env.tasks import TaskSpec
from server.autopilot.histograms import Histogram
from server.autopilot.readings import GIVEN_UP, ITL, PROMPT_TOKENS, TTFT, Reading

LATENCY_WINDOWS: Final = 10  # as in the environment
MS_PER_S: Final = 1e3
FULL_SHARE: Final = 0.95  # of the KV budget: vLLM admits nobody into the last blocks
ESTIMATED: Final = (
    "request_arrival_rate",
    "arrived_requests",
    "oldest_wait_ms",
    "overdue_requests",
    "slo_compliance_rate",
    "goodput_tps",
    "p50_ttft_ms",
    "p99_ttft_ms",
    "p50_itl_ms",
    "p99_itl_ms",
    "mean_prompt_length",
    "binding_constraint",
)
UNMEASURED: Final = (
    "gpu_memory_used_gb",
    "gpu_memory_reserved_gb",
    "gpu_busy_fraction",
    "estimated_cost_per_1k",
    "cost_so_far",
    "priority_distribution",
    "spec_acceptance_rate",
)


@dataclass(frozen=True, slots=True)
class Objectives:
    """What the operator promises, in milliseconds."""

    ttft_p99_ms: float
    itl_p99_ms: float


@dataclass(frozen=True, slots=True)
class Sight:
    """A window as it was, and as the policy is shown it.

    Attributes:
        seen: As measured, against the operator's objectives.
        shown: The same with latencies in the task's objectives instead of the operator's, since a
            policy has learnt what is late for those: a TTFT of half the objective stays half.
        met: Requests of the window that met both objectives, estimated.
        missed: Those that did not, and those that wait past theirs.
    """

    seen: RealObservation
    shown: RealObservation
    met: int
    missed: int


class Observer:
    """Remembers the readings of the last windows, of one server."""

    def __init__(self, task: TaskSpec, objectives: Objectives) -> None:
        """Nothing was read yet."""
        self._task, self._objectives = task, objectives
        self._readings: deque[Reading] = deque(maxlen=LATENCY_WINDOWS + 1)
        self._arrivals: deque[tuple[float, int]] = deque()  # seconds, how many in the window up to
        self._step = 0

    def first(self, reading: Reading, config: ServeAction) -> Sight:
        """What is known before anything was decided: what the server holds, nothing else."""
        self._readings.append(reading)
        return self._sight(reading, reading, config)

    def next(self, reading: Reading, config: ServeAction) -> Sight:
        """What a window brought that ends with this reading.

        Args:
            reading: Made at its end.
            config: What was in force.
        """
        before = self._readings[-1]
        if reading.ended < before.ended:  # another process serves by now
            self._readings.clear()
            self._arrivals.clear()
            before = Reading(reading.sample)
        self._readings.append(reading)
        self._step += 1
        return self._sight(before, reading, config)

    def _sight(self, before: Reading, now: Reading, config: ServeAction) -> Sight:
        seconds = max(now.sample.at_s - before.sample.at_s, 1e-9)
        fields = dict.fromkeys(UNMEASURED) | self._flow(before, now, seconds)
        fields |= self._latencies(before, now, seconds)
        fields |= self._held(before, now, config)
        seen = RealObservation.model_validate(
            fields
            | {
                "step_index": self._step,
                "task_id": self._task.task_id,
                "config": config,
                "reward": None,
                "done": False,
                "slo_violation_rate": (None, None, None),
                "rejected_requests": 0,
                "switch_remaining_s": 0.0,
            }
        )
        met = round((seen.slo_compliance_rate or 0.0) * seen.slo_sample_count)
        missed = seen.slo_sample_count - met + seen.overdue_requests
        return Sight(seen, seen.model_copy(update=self._rescaled(seen)), met, missed)

    def _flow(self, before: Reading, now: Reading, seconds: float) -> dict[str, Any]:
        """What came, waits, runs and went."""
        went = {
            reason: count - before.finished.get(reason, 0.0)
            for reason, count in now.finished.items()
        }
        arrived = max(round(now.ended - before.ended + now.in_system - before.in_system), 0)
        arrived = arrived if self._step else 0
        self._arrivals.append((now.sample.at_s, arrived))
        waiting = round(now.sample.waiting)
        self._forget_all_but(waiting)
        ttft_s = self._objectives.ttft_p99_ms / MS_PER_S
        recent = sum(count for at_s, count in self._arrivals if at_s > now.sample.at_s - ttft_s)
        oldest_s = now.sample.at_s - self._arrivals[0][0] + seconds if waiting else 0.0
        given_up = round(went.get(GIVEN_UP, 0.0))
        return {
            "queue_depth": waiting,
            "active_requests": round(now.sample.running),
            "arrived_requests": arrived,
            "request_arrival_rate": arrived / seconds,
            "finished_requests": round(math.fsum(went.values())) - given_up if self._step else 0,
            "dropped_requests": given_up if self._step else 0,
            "oldest_wait_ms": oldest_s * MS_PER_S,
            "overdue_requests": max(waiting - recent, 0),
        }

    def _forget_all_but(self, waiting: int) -> None:
        """Keep the newest windows in which those who wait arrived; the newest is always kept."""
        later = 0
        for index in range(len(self._arrivals) - 1, -1, -1):
            later += self._arrivals[index][1]
            if later >= waiting:
                for _ in range(index):
                    self._arrivals.popleft()
                return

    def _latencies(self, before: Reading, now: Reading, seconds: float) -> dict[str, Any]:
        oldest, limits = self._readings[0], self._objectives
        ttft, itl = (_between(oldest, now, name) for name in (TTFT, ITL))
        last_ttft, last_itl = (_between(before, now, name) for name in (TTFT, ITL))
        prompts = _between(before, now, PROMPT_TOKENS)
        shares = (
            None if last_ttft is None else last_ttft.share_within(limits.ttft_p99_ms / MS_PER_S),
            None if last_itl is None else last_itl.share_within(limits.itl_p99_ms / MS_PER_S),
        )
        known = [share for share in shares if share is not None]
        tokens = now.sample.generation_tokens - before.sample.generation_tokens
        tokens_per_s = max(tokens, 0.0) / seconds if self._step and not math.isnan(tokens) else 0.0
        return {
            "p50_ttft_ms": _quantile_ms(ttft, 0.5),
            "p99_ttft_ms": _quantile_ms(ttft, 0.99),
            "ttft_sample_count": 0 if ttft is None else ttft.samples,
            "p50_itl_ms": _quantile_ms(itl, 0.5),
            "p99_itl_ms": _quantile_ms(itl, 0.99),
            "itl_sample_count": 0 if itl is None else itl.samples,
            "mean_prompt_length": None if prompts is None else prompts.mean,
            "slo_compliance_rate": min(known) if known else None,
            "slo_sample_count": 0 if last_ttft is None else last_ttft.samples,
            "throughput_tps": tokens_per_s,
            "goodput_tps": tokens_per_s * min(known, default=0.0),
        }

    def _held(self, before: Reading, now: Reading, config: ServeAction) -> dict[str, Any]:
        """KV in use, what was preempted and accepted, and what held requests back."""
        sample = now.sample
        preempted = _more(before.sample.preemptions, sample.preemptions)
        drafts = _more(before.sample.draft_tokens, sample.draft_tokens)
        accepted = _more(before.sample.accepted_tokens, sample.accepted_tokens)
        usage = min(max(sample.kv_usage_fraction, 0.0), 1.0)
        return {
            "kv_cache_occupancy": None if math.isnan(usage) else usage,
            "eviction_events": None if preempted is None else round(preempted),
            "spec_acceptance_rate": min((accepted or 0.0) / drafts, 1.0) if drafts else None,
            "binding_constraint": binding_constraint(sample, config, preempted=preempted or 0.0),
        }

    def _rescaled(self, seen: RealObservation) -> dict[str, float | None]:
        ttft = min(self._task.slo.ttft_ms) / self._objectives.ttft_p99_ms
        itl = min(self._task.slo.itl_ms) / self._objectives.itl_p99_ms
        factors = {"p50_ttft_ms": ttft, "p99_ttft_ms": ttft, "oldest_wait_ms": ttft}
        factors |= {"p50_itl_ms": itl, "p99_itl_ms": itl}
        values = {name: getattr(seen, name) for name in factors}
        return {
            name: None if value is None else value * factors[name] for name, value in values.items()
        }


def binding_constraint(sample: Any, config: ServeAction, *, preempted: float) -> BindingConstraint:
    """What holds requests back, as the gauges tell it; none if nobody waits."""
    if preempted > 0.0:
        return "kv"
    if sample.waiting < 1.0:
        return "none"
    if sample.kv_usage_fraction >= FULL_SHARE * config.kv_budget_fraction:
        return "kv"
    return "queue" if sample.running >= config.batch_cap else "compute"


def _between(before: Reading, now: Reading, name: str) -> Histogram | None:
    """What a histogram gained; None if the page has none, or nothing was gained."""
    if name not in now.histograms or before is now:
        return None
    gained = now.histograms[name].since(before.histograms.get(name))
    return gained if gained.samples else None


def _quantile_ms(histogram: Histogram | None, share: float) -> float | None:
    value = None if histogram is None else histogram.quantile(share)
    return None if value is None else value * MS_PER_S


def _more(before: float, now: float) -> float | None:
    """How much a counter grew; from 0 if it is smaller than before; None if nobody tells."""
    if math.isnan(now):
        return None
    return now if math.isnan(before) or now < before else now - before
