"""What a window amounts to, as flat records: metrics, reward, and what these depend on."""

from __future__ import annotations

from typing import Final

import numpy as np

from llmserve_env.models import CLASS_COUNT

_F, _I = np.float64, np.int64

# What a window amounts to, in SI units; NaN stands for "no sample". Suffixes 0, 1, 2 are classes.
METRICS = np.dtype(
    [
        ("waiting", _I),
        ("running", _I),
        ("overdue", _I),
        ("oldest_wait_s", _F),
        ("kv_used_fraction", _F),
        ("prompt_tokens_mean", _F),
        ("ttft_p50_s", _F),
        ("ttft_p99_s", _F),
        ("ttft_samples", _I),
        ("itl_p50_s", _F),
        ("itl_p99_s", _F),
        ("itl_tokens", _I),
        ("output_tps", _F),
        ("goodput_tps", _F),
        ("arrival_rps", _F),
        ("arrived", _I),
        *((f"arrived_{index}", _I) for index in range(CLASS_COUNT)),
        ("finished", _I),
        ("rejected", _I),
        ("dropped", _I),
        *((f"decided_{index}", _I) for index in range(CLASS_COUNT)),
        *((f"met_{index}", _I) for index in range(CLASS_COUNT)),
        ("met_tokens", _I),
        ("missed_tokens", _I),
        ("ttft_utility", _F),
        ("memory_used_bytes", _F),
        ("memory_reserved_bytes", _F),
        ("reserved_fraction", _F),
        ("busy_fraction", _F),
        ("kv_reserved_fraction", _F),
        ("saved_fraction", _F),
        ("quality", _F),
        ("cost_usd", _F),
        ("cost_total_usd", _F),
        ("recent_cost_usd", _F),
        ("recent_tokens", _F),
        ("acceptance_fraction", _F),
        ("preemptions", _I),
        ("switch_remaining_s", _F),
        ("binding", _I),
        ("moved_fraction", _F),
    ]
)

# The terms of the reward, each in [0, 1], and the reward in [-1, 1].
REWARD = np.dtype(
    [
        ("throughput", _F),
        ("ttft", _F),
        ("slo", _F),
        ("memory", _F),
        ("cost", _F),
        ("stability", _F),
        ("violation", _F),
        ("preemption", _F),
        ("drop", _F),
        ("reward", _F),
    ]
)
GAIN_TERMS: Final = ("throughput", "ttft", "slo", "memory", "cost", "stability")
PENALTY_TERMS: Final = ("violation", "preemption", "drop")

# Objectives, money and memory: what metrics need to know beside the engine's state.
TERMS = np.dtype(
    [
        *((f"ttft_slo_s_{index}", _F) for index in range(CLASS_COUNT)),
        *((f"itl_slo_s_{index}", _F) for index in range(CLASS_COUNT)),
        ("api_s", _F),
        ("usd_per_gpu_s", _F),
        ("memory_limit_bytes", _F),
        ("activation_bytes", _F),
        ("block_bytes", _F),
        ("weight_bytes_fp16", _F),
        ("weight_bytes_int8", _F),
        ("weight_bytes_int4", _F),
        ("quality_fp16", _F),
        ("quality_int8", _F),
        ("quality_int4", _F),
        ("largest_pool_blocks", _F),
        ("least_reserved_fraction", _F),
        ("most_reserved_fraction", _F),
        ("active_knobs", _I),
    ]
)
