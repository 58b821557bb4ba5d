"""Observations made by hand, for agents to react to."""

from __future__ import annotations

from typing import Any

from llmserve_env.models import ServeObservation
from tests.builders import ACTION

_QUIET: dict[str, Any] = {
    "queue_depth": 0,
    "active_requests": 10,
    "kv_cache_occupancy": 0.2,
    "mean_prompt_length": 100.0,
    "p50_ttft_ms": 50.0,
    "p99_ttft_ms": 80.0,
    "ttft_sample_count": 50,
    "p50_itl_ms": 20.0,
    "p99_itl_ms": 25.0,
    "itl_sample_count": 2_000,
    "throughput_tps": 250.0,
    "goodput_tps": 250.0,
    "slo_compliance_rate": 1.0,
    "slo_violation_rate": (0.0, 0.0, 0.0),
    "slo_sample_count": 5,
    "overdue_requests": 0,
    "gpu_memory_used_gb": 20.0,
    "gpu_memory_reserved_gb": 30.0,
    "gpu_busy_fraction": 0.9,
    "estimated_cost_per_1k": 0.001,
    "cost_so_far": 0.01,
    "request_arrival_rate": 5.0,
    "priority_distribution": (0.0, 1.0, 0.0),
    "spec_acceptance_rate": None,
    "eviction_events": 0,
    "oldest_wait_ms": 0.0,
    "arrived_requests": 5,
    "finished_requests": 5,
    "rejected_requests": 0,
    "dropped_requests": 0,
    "switch_remaining_s": 0.0,
    "binding_constraint": "none",
    "step_index": 1,
    "task_id": "made_up",
    "config": ACTION,
    "reward": 0.5,
    "done": False,
}


def seen(**fields: Any) -> ServeObservation:
    """What is seen after a quiet window, but for these fields."""
    return ServeObservation.model_validate(_QUIET | fields)
