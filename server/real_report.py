"""What the metadata of a real window says: dead knobs, blind spots, failures, and is it valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.real_actuator import KnobReport
from server.real_calls import WindowEvents
from server.real_failures import Failure

# What no client of OpenAI's protocol can see, and the terms of the reward that rest on it.
NEVER_MEASURED_FIELDS: Final = (
    "gpu_memory_used_gb",
    "gpu_memory_reserved_gb",
    "gpu_busy_fraction",
    "estimated_cost_per_1k",
    "cost_so_far",
    "spec_acceptance_rate",
    "eviction_events",
)
NEVER_MEASURED_TERMS: Final = ("cost", "preemption")
MS_PER_S: Final = 1e3


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What a window brought beside its metrics.

    Attributes:
        events: From the gateway.
        lag_s: The longest delay of the client's event loop.
        paused_s: For how long requests were in flight before the window while nobody held the
            clock: the controller was thinking.
        tokens_in_flight: Reserved at the end of the window.
        spent_tokens: Of the episode's budget, so far.
        unusable: Why nothing is sent any more, if so.
    """

    events: WindowEvents
    lag_s: float
    paused_s: float
    tokens_in_flight: int
    spent_tokens: int
    unusable: Failure | None


def unmeasured_fields(knobs: Mapping[str, KnobReport]) -> tuple[str, ...]:
    """The fields of an observation that are None."""
    return NEVER_MEASURED_FIELDS + (() if _has_pool(knobs) else ("kv_cache_occupancy",))


def unmeasured_terms(knobs: Mapping[str, KnobReport]) -> tuple[str, ...]:
    """The terms of the reward that do not count."""
    return NEVER_MEASURED_TERMS + (() if _has_pool(knobs) else ("memory",))


def server_report(knobs: Mapping[str, KnobReport]) -> dict[str, Any]:
    """What holds for every window."""
    return {
        "knobs_not_acting": {name: knob.how for name, knob in knobs.items() if not knob.acts},
        "unmeasured_fields": list(unmeasured_fields(knobs)),
        "unmeasured_reward_terms": list(unmeasured_terms(knobs)),
    }


def window_report(facts: WindowFacts, *, lag_limit_ms: float) -> dict[str, Any]:
    """What one window says of itself.

    It is invalid, `invalid_because`, if the client's event loop was late (`client_lag`: all times
    are suspect) or if requests were in flight while the controller was thinking
    (`controller_paused`: they had time that no window shows).
    """
    events = facts.events
    reasons = {
        "client_lag": facts.lag_s * MS_PER_S > lag_limit_ms,
        "controller_paused": facts.paused_s * MS_PER_S > lag_limit_ms,
    }
    invalid = [reason for reason, holds in reasons.items() if holds]
    return {
        "is_valid": not invalid,
        "invalid_because": invalid,
        "client_lag_ms": facts.lag_s * MS_PER_S,
        "controller_paused_ms": facts.paused_s * MS_PER_S,
        "failures": {kind.value: count for kind, count in events.failures.items()},
        "retries": {kind.value: count for kind, count in events.retries.items()},
        "server_unusable": None if facts.unusable is None else facts.unusable.value,
        "tokens_in_flight": facts.tokens_in_flight,
        "spent_tokens": facts.spent_tokens,
        "tokens_per_chunk": events.output_tokens / events.chunks if events.chunks else None,
        "prompt_tokens_over_planned": (
            events.prompt_tokens / events.planned_prompt_tokens
            if events.planned_prompt_tokens
            else None
        ),
    }


def _has_pool(knobs: Mapping[str, KnobReport]) -> bool:
    return knobs["kv_budget_fraction"].acts
