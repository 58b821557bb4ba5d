"""What the metadata of a real window says: dead knobs, blind spots, failures, and is it valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.real_actuator import KnobReport
from server.real_calls import ServerView, WindowEvents
from server.real_failures import Failure

# What neither a client of OpenAI's protocol nor a server's metrics tell.
NEVER_MEASURED_FIELDS: Final = (
    "gpu_memory_used_gb",
    "gpu_memory_reserved_gb",
    "gpu_busy_fraction",
    "estimated_cost_per_1k",
    "cost_so_far",
)
# What a server's metrics tell and no client sees.
TOLD_FIELDS: Final = ("spec_acceptance_rate", "eviction_events")
POOL_FIELDS: Final = ("kv_cache_occupancy",)
# The terms of the reward that rest on each of these.
NEVER_MEASURED_TERMS: Final = ("cost",)
TOLD_TERMS: Final = ("preemption",)
POOL_TERMS: Final = ("memory",)
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
        server: What the server told of itself.
    """

    events: WindowEvents
    lag_s: float
    paused_s: float
    tokens_in_flight: int
    spent_tokens: int
    unusable: Failure | None
    server: ServerView


def unmeasured_fields(*, knows_pool: bool, is_told: bool) -> tuple[str, ...]:
    """The fields of an observation that are None.

    Args:
        knows_pool: Whether the tokens of the KV cache, and those held there, are known.
        is_told: Whether the server's metrics were read.
    """
    told = () if is_told else TOLD_FIELDS
    return NEVER_MEASURED_FIELDS + told + (() if knows_pool else POOL_FIELDS)


def unmeasured_terms(*, knows_pool: bool, is_told: bool) -> tuple[str, ...]:
    """The terms of the reward that do not count."""
    told = () if is_told else TOLD_TERMS
    return NEVER_MEASURED_TERMS + told + (() if knows_pool else POOL_TERMS)


def server_report(
    knobs: Mapping[str, KnobReport], *, knows_pool: bool, is_told: bool
) -> dict[str, Any]:
    """What there is to say of the server and its knobs."""
    return {
        "knobs_not_acting": {name: knob.how for name, knob in knobs.items() if not knob.acts},
        "unmeasured_fields": list(unmeasured_fields(knows_pool=knows_pool, is_told=is_told)),
        "unmeasured_reward_terms": list(unmeasured_terms(knows_pool=knows_pool, is_told=is_told)),
    }


def window_report(facts: WindowFacts, *, lag_limit_ms: float) -> dict[str, Any]:
    """What one window says of itself.

    It is invalid, `invalid_because`, if the client's event loop was late (`client_lag`: all times
    are suspect), if requests were in flight while the controller was thinking
    (`controller_paused`: they had time that no window shows), or if the server's knobs could not be
    moved (`control_lost`: it is not known what was in force).
    """
    events = facts.events
    reasons = {
        "client_lag": facts.lag_s * MS_PER_S > lag_limit_ms,
        "controller_paused": facts.paused_s * MS_PER_S > lag_limit_ms,
        "control_lost": facts.server.problem is not None,
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
        **facts.server.report,
    }
