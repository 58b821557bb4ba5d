"""Turns an observation into float32 features, each named, in [0, 1] and scaled by constants.

The scales are fixed, so that a vector means the same in every run: nothing is estimated on the way
and nothing has to be stored with a policy's weights. A value beyond its full scale saturates at 1;
that concerns the feature alone, the observation keeps the value. What no sample was measured for
(None) is encoded as 0, and a feature of its own says whether there was one.

What could tell the clock or the task (step_index, cost_so_far, task_id) is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from llmserve_env.models import BINDING_CONSTRAINTS, CLASS_COUNT, TIERS, ServeObservation

Transform = Literal["log", "linear", "known"]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Feature:
    """One entry of the vector.

    Attributes:
        name: The observation's field; its part after a dot (a class, a choice); `has_<field>` for
            whether there was a sample.
        transform: `linear` x / full; `log` log(1 + x / unit) / log(1 + full / unit); `known` 1 if
            the value is not None, else 0.
        full: The value that is encoded as 1, in the field's unit; larger ones saturate there.
        unit: Below this a logarithm is nearly linear, above it nearly logarithmic.
    """

    name: str
    transform: Transform
    full: float = 1.0
    unit: float = 1.0


def _logs(*scales: tuple[str, float]) -> tuple[Feature, ...]:
    return tuple(Feature(name, "log", full) for name, full in scales)


# Full scales: counts and rates several times what the shipped tasks reach, times the client's
# patience of 60 s, lengths the longest context a deployment may have.
_LOG: Final = (
    *_logs(
        ("queue_depth", 4096),
        ("active_requests", 1024),  # two replicas of 512
        ("overdue_requests", 4096),
        ("oldest_wait_ms", 60_000),
        ("request_arrival_rate", 256),
        ("finished_requests", 256),
        ("rejected_requests", 256),
        ("dropped_requests", 256),
        ("eviction_events", 1024),
        ("throughput_tps", 20_000),
        ("goodput_tps", 20_000),
        ("slo_sample_count", 1024),
        ("ttft_sample_count", 1024),
        ("itl_sample_count", 200_000),
        ("switch_remaining_s", 300),  # a cold switch
        ("config.batch_cap", 512),
        ("p50_ttft_ms", 60_000),
        ("p50_itl_ms", 10_000),
        ("mean_prompt_length", 32_768),
        ("p99_ttft_ms", 60_000),
        ("p99_itl_ms", 10_000),
    ),
    Feature("estimated_cost_per_1k", "log", full=1.0, unit=1e-4),  # US dollars
)
_SHARES: Final = (
    Feature("slo_compliance_rate", "linear"),
    Feature("spec_acceptance_rate", "linear"),
    *(Feature(f"slo_violation_rate.{index}", "linear") for index in range(CLASS_COUNT)),
    *(Feature(f"priority_distribution.{index}", "linear") for index in range(CLASS_COUNT)),
)
_LINEAR: Final = (
    Feature("kv_cache_occupancy", "linear"),
    Feature("gpu_memory_used_gb", "linear", full=160.0),  # two GPUs of 80 GB
    Feature("gpu_memory_reserved_gb", "linear", full=160.0),
    Feature("gpu_busy_fraction", "linear"),
    Feature("config.kv_budget_fraction", "linear"),
    Feature("config.speculation_depth", "linear", full=8.0),
    Feature("config.prefill_decode_split", "linear"),
    Feature("config.priority_routing", "linear"),
)
_CHOICES: Final = (
    *(Feature(f"config.quantization_tier.{tier}", "linear") for tier in TIERS),
    *(Feature(f"binding_constraint.{name}", "linear") for name in BINDING_CONSTRAINTS),
)
_RAW: Final = _LOG + _SHARES + _LINEAR + _CHOICES
RAW_NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in _RAW)

# What may be without a sample lies side by side; one flag serves both percentiles of a latency and
# the three shares of the classes.
_FIRST_SAMPLED: Final = RAW_NAMES.index("mean_prompt_length")
_LAST_SAMPLED: Final = RAW_NAMES.index("priority_distribution.0")

FEATURES: Final[tuple[Feature, ...]] = (
    *_RAW,
    *(Feature(f"has_{name}", "known") for name in RAW_NAMES[_FIRST_SAMPLED : _LAST_SAMPLED + 1]),
)
FEATURE_NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in FEATURES)

_LOG_COUNT: Final = len(_LOG)
_RAW_COUNT: Final = len(_RAW)
_UNITS: Final = np.array([feature.unit for feature in _LOG])
_SPANS: Final = np.array([math.log1p(feature.full / feature.unit) for feature in _LOG])
_FULLS: Final = np.array([feature.full for feature in _RAW])

_log_values = attrgetter(*(feature.name for feature in _LOG))
_linear_values = attrgetter(*(feature.name for feature in _LINEAR))
_NO_SHARES: Final = (None, None, None)
_TIER_ROWS: Final = dict(zip(TIERS, np.eye(len(TIERS)).tolist(), strict=True))
_BINDING_ROWS: Final = dict(
    zip(BINDING_CONSTRAINTS, np.eye(len(BINDING_CONSTRAINTS)).tolist(), strict=True)
)


def encode(observation: ServeObservation) -> Features:
    """The feature vector (FEATURES,) of an observation."""
    raw = np.array([raw_values(observation)], np.float64)
    features = np.empty(len(FEATURES), np.float32)
    write_features(raw, features[None, :])
    return features


def raw_values(observation: ServeObservation) -> tuple[float | None, ...]:
    """The observation's values in the order of RAW_NAMES, in their own units."""
    return (
        *_log_values(observation),
        observation.slo_compliance_rate,
        observation.spec_acceptance_rate,
        *observation.slo_violation_rate,
        *(observation.priority_distribution or _NO_SHARES),
        *_linear_values(observation),
        *_TIER_ROWS[observation.config.quantization_tier],
        *_BINDING_ROWS[observation.binding_constraint],
    )


def write_features(raw: npt.NDArray[np.float64], features: Features) -> None:
    """Encode raw values in the order of RAW_NAMES, NaN where there was no sample.

    Written as loops, because the simulator compiles this function as it is.

    Args:
        raw: (rows, RAW_NAMES).
        features: (rows, FEATURES), filled.
    """
    for row in range(raw.shape[0]):
        for i in range(_RAW_COUNT):
            value = raw[row, i]
            if math.isnan(value):
                features[row, i] = 0.0
            elif i < _LOG_COUNT:
                features[row, i] = min(math.log1p(value / _UNITS[i]) / _SPANS[i], 1.0)
            else:
                features[row, i] = min(value / _FULLS[i], 1.0)
        for i in range(_FIRST_SAMPLED, _LAST_SAMPLED + 1):
            features[row, _RAW_COUNT + i - _FIRST_SAMPLED] = not math.isnan(raw[row, i])
