"""The compiled path from the engine's state to the values that llmserve_env/encoding.py encodes.

It says what metrics.snapshot says, without the dicts that cost more than simulating the window;
tests hold the two equal.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from llmserve_env.encoding import RAW_NAMES, write_features
from simulator.jit import compiled, inlined
from simulator.state import (
    HOLD_COMPUTE,
    HOLD_KV,
    HOLD_NONE,
    HOLD_QUEUE,
    HOLD_SWITCHING,
    Record,
    Records,
)

RAW: Final = np.dtype([(name, np.float64) for name in RAW_NAMES])

# One definition of the features: what encodes an observation, compiled.
encode_rows = compiled(write_features)

_MS_PER_S: Final = 1e3
_BYTES_PER_GB: Final = 1e9
_TOKENS_PER_PRICE: Final = 1e3


@compiled
def raw_rows(environments: Records, metrics: Records, raw: Records) -> None:
    """Fill the values of every environment, in the wire's units; NaN where there was no sample.

    Args:
        environments: (envs,) ENVIRONMENT, for the configuration in force.
        metrics: (envs,) METRICS.
        raw: (envs,) RAW, filled.
    """
    for e in range(raw.shape[0]):
        _write_load(metrics[e], raw[e])
        _write_latency(metrics[e], raw[e])
        _write_service(metrics[e], raw[e])
        _write_resources(metrics[e], raw[e])
        _write_config(environments[e], raw[e])


@inlined
def _write_load(m: Record, r: Record) -> None:
    r["queue_depth"] = m.waiting
    r["active_requests"] = m.running
    r["overdue_requests"] = m.overdue
    r["oldest_wait_ms"] = m.oldest_wait_s * _MS_PER_S
    r["request_arrival_rate"] = m.arrival_rps
    r["mean_prompt_length"] = m.prompt_tokens_mean
    r["priority_distribution.0"] = _ratio(m.arrived_0, m.arrived)
    r["priority_distribution.1"] = _ratio(m.arrived_1, m.arrived)
    r["priority_distribution.2"] = _ratio(m.arrived_2, m.arrived)


@inlined
def _write_latency(m: Record, r: Record) -> None:
    r["p50_ttft_ms"] = m.ttft_p50_s * _MS_PER_S
    r["p99_ttft_ms"] = m.ttft_p99_s * _MS_PER_S
    r["ttft_sample_count"] = m.ttft_samples
    r["p50_itl_ms"] = m.itl_p50_s * _MS_PER_S
    r["p99_itl_ms"] = m.itl_p99_s * _MS_PER_S
    r["itl_sample_count"] = m.itl_tokens


@inlined
def _write_service(m: Record, r: Record) -> None:
    decided = m.decided_0 + m.decided_1 + m.decided_2
    r["throughput_tps"] = max(m.output_tps, 0.0)
    r["goodput_tps"] = m.goodput_tps
    r["slo_compliance_rate"] = _ratio(m.met_0 + m.met_1 + m.met_2, decided)
    r["slo_violation_rate.0"] = 1.0 - _ratio(m.met_0, m.decided_0)
    r["slo_violation_rate.1"] = 1.0 - _ratio(m.met_1, m.decided_1)
    r["slo_violation_rate.2"] = 1.0 - _ratio(m.met_2, m.decided_2)
    r["slo_sample_count"] = decided
    r["finished_requests"] = m.finished
    r["rejected_requests"] = m.rejected
    r["dropped_requests"] = m.dropped
    r["eviction_events"] = m.preemptions
    r["spec_acceptance_rate"] = m.acceptance_fraction


@inlined
def _write_resources(m: Record, r: Record) -> None:
    r["kv_cache_occupancy"] = m.kv_used_fraction
    r["gpu_memory_used_gb"] = m.memory_used_bytes / _BYTES_PER_GB
    r["gpu_memory_reserved_gb"] = m.memory_reserved_bytes / _BYTES_PER_GB
    r["gpu_busy_fraction"] = m.busy_fraction
    r["estimated_cost_per_1k"] = math.nan
    if m.recent_tokens > 0.0:
        r["estimated_cost_per_1k"] = m.recent_cost_usd * _TOKENS_PER_PRICE / m.recent_tokens
    r["switch_remaining_s"] = m.switch_remaining_s
    r["binding_constraint.none"] = m.binding == HOLD_NONE
    r["binding_constraint.queue"] = m.binding == HOLD_QUEUE
    r["binding_constraint.kv"] = m.binding == HOLD_KV
    r["binding_constraint.compute"] = m.binding == HOLD_COMPUTE
    r["binding_constraint.switching"] = m.binding == HOLD_SWITCHING


@inlined
def _write_config(env: Record, r: Record) -> None:
    r["config.batch_cap"] = env.batch_cap
    r["config.kv_budget_fraction"] = env.kv_budget_fraction
    r["config.speculation_depth"] = env.speculation_depth
    r["config.quantization_tier.FP16"] = env.tier == 0
    r["config.quantization_tier.INT8"] = env.tier == 1
    r["config.quantization_tier.INT4"] = env.tier == 2
    r["config.prefill_decode_split"] = env.split
    r["config.priority_routing"] = env.priority


@inlined
def _ratio(part: int, whole: int) -> float:
    return part / whole if whole > 0 else math.nan
