"""Turns the compiled engine's measurements (SI units, NaN) into the wire's (ms, GB, None)."""

from __future__ import annotations

import math
import struct
from collections import namedtuple
from typing import Any, Final

import numpy as np

from llmserve_env.models import BINDING_CONSTRAINTS
from simulator.outcome import METRICS

MS_PER_S: Final = 1e3
BYTES_PER_GB: Final = 1e9
TOKENS_PER_PRICE: Final = 1e3

# A record as a named tuple, read with struct: numpy's tolist takes four times as long.
_COLUMNS: Final = METRICS.names or ()
_Measured = namedtuple("_Measured", _COLUMNS)  # type: ignore[misc]  # columns are data
_LAYOUT: Final = struct.Struct(
    "".join("d" if METRICS[column].kind == "f" else "q" for column in _COLUMNS)
)


def snapshot(record: np.void) -> dict[str, Any]:
    """The fields of MetricsSnapshot for one METRICS record.

    A dict rather than the model, because an observation is these fields and more, and building
    the model twice would double the cost of a step.
    """
    m: Any = _Measured._make(_LAYOUT.unpack(record.data))
    decided = m.decided_0 + m.decided_1 + m.decided_2
    met = m.met_0 + m.met_1 + m.met_2
    arrived, tokens = m.arrived, m.recent_tokens
    return {
        "queue_depth": m.waiting,
        "active_requests": m.running,
        "kv_cache_occupancy": m.kv_used_fraction,
        "mean_prompt_length": _value(m.prompt_tokens_mean),
        "p50_ttft_ms": _value(m.ttft_p50_s, MS_PER_S),
        "p99_ttft_ms": _value(m.ttft_p99_s, MS_PER_S),
        "ttft_sample_count": m.ttft_samples,
        "p50_itl_ms": _value(m.itl_p50_s, MS_PER_S),
        "p99_itl_ms": _value(m.itl_p99_s, MS_PER_S),
        "itl_sample_count": m.itl_tokens,
        "throughput_tps": max(m.output_tps, 0.0),
        "goodput_tps": m.goodput_tps,
        "slo_compliance_rate": None if decided == 0 else met / decided,
        "slo_violation_rate": (
            _missed(m.met_0, m.decided_0),
            _missed(m.met_1, m.decided_1),
            _missed(m.met_2, m.decided_2),
        ),
        "slo_sample_count": decided,
        "overdue_requests": m.overdue,
        "gpu_memory_used_gb": m.memory_used_bytes / BYTES_PER_GB,
        "gpu_memory_reserved_gb": m.memory_reserved_bytes / BYTES_PER_GB,
        "gpu_busy_fraction": m.busy_fraction,
        "estimated_cost_per_1k": (
            m.recent_cost_usd * TOKENS_PER_PRICE / tokens if tokens > 0.0 else None
        ),
        "cost_so_far": m.cost_total_usd,
        "request_arrival_rate": m.arrival_rps,
        "priority_distribution": (
            (m.arrived_0 / arrived, m.arrived_1 / arrived, m.arrived_2 / arrived)
            if arrived
            else None
        ),
        "spec_acceptance_rate": _value(m.acceptance_fraction),
        "eviction_events": m.preemptions,
        "oldest_wait_ms": m.oldest_wait_s * MS_PER_S,
        "arrived_requests": arrived,
        "finished_requests": m.finished,
        "rejected_requests": m.rejected,
        "dropped_requests": m.dropped,
        "switch_remaining_s": m.switch_remaining_s,
        "binding_constraint": BINDING_CONSTRAINTS[m.binding],
    }


def _value(value: float, scale: float = 1.0) -> float | None:
    return None if math.isnan(value) else value * scale


def _missed(met: int, decided: int) -> float | None:
    return None if decided == 0 else 1.0 - met / decided
