"""Turns observations into float32 features, each named, in [0, 1] and scaled by constants.

The scales are fixed, so that a vector means the same in every run: nothing is estimated on the way
and nothing has to be stored with a policy's weights. A value beyond its full scale saturates at 1;
that concerns the feature alone, the observation keeps the value. What no sample was measured for
(None) is encoded as 0, and a feature of its own says whether there was one.

WINDOW_FEATURES are those of one observation. TRENDS are averages of some of them over the windows
of the episode, a fast and a slow one: level and drift of what changes behind a policy's back.
SURGE_AGE is how long ago requests last came in a surge. FeatureEncoder remembers what these need.
FEATURES are all of them.

What could tell the clock or the task (step_index, cost_so_far, task_id) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from llmserve_env.models import BINDING_CONSTRAINTS, CLASS_COUNT, TIERS, ServeObservation

Transform = Literal["log", "linear", "known"]
Features = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Feature:
    """One entry of the vector.

    Attributes:
        name: The observation's field; its part after a dot (a class, a choice); `has_<field>` for
            whether there was a sample; `<field>.fast` and `<field>.slow` for its averages.
        transform: `linear` x / full; `log` log(1 + x / unit) / log(1 + full / unit); `known` 1 if
            the value is not None, else 0.
        full: The value that is encoded as 1, in the field's unit; larger ones saturate there.
        unit: Below this a logarithm is nearly linear, above it nearly logarithmic.
        newest_fraction: Weight of the newest window in an average; 1 for that window alone.
    """

    name: str
    transform: Transform
    full: float = 1.0
    unit: float = 1.0
    newest_fraction: float = 1.0


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

WINDOW_FEATURES: Final[tuple[Feature, ...]] = (
    *_RAW,
    *(Feature(f"has_{name}", "known") for name in RAW_NAMES[_FIRST_SAMPLED : _LAST_SAMPLED + 1]),
)

# Averaged is what tells the hidden regimes apart: rate, prompt lengths, output lengths (tokens and
# requests finished), share of the interactive class and acceptance; and how the engine stands.
AVERAGED: Final = (
    "request_arrival_rate",
    "mean_prompt_length",
    "finished_requests",
    "throughput_tps",
    "priority_distribution.0",
    "spec_acceptance_rate",
    "queue_depth",
    "active_requests",
    "kv_cache_occupancy",
    "p50_itl_ms",
)
_SPEEDS: Final = (("fast", 0.5), ("slow", 0.1))  # they forget half in 1 and in 7 windows
TRENDS: Final[tuple[Feature, ...]] = tuple(
    replace(_RAW[RAW_NAMES.index(name)], name=f"{name}.{speed}", newest_fraction=fraction)
    for name in AVERAGED
    for speed, fraction in _SPEEDS
)
# A surge is a window with more than so many times the arrivals of the slow average before it. Where
# surges keep a distance, the age of the last tells how soon the next may come.
_SURGE_RATIO: Final = 2.5
_SURGE_HORIZON: Final = 64.0  # windows; also the age of a surge that was never seen
SURGE_AGE: Final = Feature("request_arrival_rate.surge_age", "linear", full=_SURGE_HORIZON)
FEATURES: Final = (*WINDOW_FEATURES, *TRENDS, SURGE_AGE)
FEATURE_NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in FEATURES)

_LOG_COUNT: Final = len(_LOG)
_RAW_COUNT: Final = len(_RAW)
_UNITS: Final = np.array([feature.unit for feature in _LOG])
_SPANS: Final = np.array([math.log1p(feature.full / feature.unit) for feature in _LOG])
_FULLS: Final = np.array([feature.full for feature in _RAW])

# Columns of the averaged features and of their has_*; -1 where there always is a sample.
_WINDOW_NAMES: Final = FEATURE_NAMES[: len(WINDOW_FEATURES)]
_WINDOW_COUNT: Final = len(WINDOW_FEATURES)
_AVERAGED_COLUMNS: Final = np.array([_WINDOW_NAMES.index(name) for name in AVERAGED])
_FLAG_COLUMNS: Final = np.array(
    [
        _WINDOW_NAMES.index(f"has_{name}") if f"has_{name}" in _WINDOW_NAMES else -1
        for name in AVERAGED
    ]
)
_NEWEST: Final = np.array([fraction for _, fraction in _SPEEDS])
_SPEED_COUNT: Final = len(_SPEEDS)
# What is remembered per averaged feature: its averages, and of how many windows; below these a line
# that begins with the surge's age.
_REMEMBERED: Final = _SPEED_COUNT + 2
_AGE: Final = _SPEED_COUNT + 1
_RATE: Final = RAW_NAMES.index("request_arrival_rate")
_SLOW: Final = _SPEED_COUNT - 1
_AGE_COLUMN: Final = len(FEATURES) - 1
_NOTHING_SEEN: Final = -1.0

_log_values = attrgetter(*(feature.name for feature in _LOG))
_linear_values = attrgetter(*(feature.name for feature in _LINEAR))
_NO_SHARES: Final = (None, None, None)
_TIER_ROWS: Final = dict(zip(TIERS, np.eye(len(TIERS)).tolist(), strict=True))
_BINDING_ROWS: Final = dict(
    zip(BINDING_CONSTRAINTS, np.eye(len(BINDING_CONSTRAINTS)).tolist(), strict=True)
)


class FeatureEncoder:
    """Encodes the observations of episodes that advance together, one per row, in their order."""

    def __init__(
        self,
        rows: int = 1,
        *,
        trends: Callable[[Features, FloatArray], None] | None = None,
    ) -> None:
        """Start ahead of the first observation.

        Args:
            rows: How many episodes.
            trends: write_trends, compiled; interpreted if left out.
        """
        self._memory: FloatArray = np.empty((rows, _REMEMBERED, len(AVERAGED)))
        self._write_trends = write_trends if trends is None else trends
        self.reset()

    def reset(self) -> None:
        """Forget the episodes; the next observation is that of a reset."""
        self._memory[:] = 0.0
        self._memory[:, _SPEED_COUNT] = _NOTHING_SEEN
        self._memory[:, _AGE] = _SURGE_HORIZON

    def encode(self, observation: ServeObservation) -> Features:
        """(FEATURES,) of the next observation of the one episode; call it once per observation."""
        features: Features = self.extend(encode_window(observation)[None, :])[0]
        return features

    def extend(self, windows: Features, out: Features | None = None) -> Features:
        """(rows, FEATURES), what is known of the next window and the trends up to it.

        Args:
            windows: (rows, WINDOW_FEATURES).
            out: Filled and returned; a new array if left out.
        """
        features = np.empty((len(windows), len(FEATURES)), np.float32) if out is None else out
        features[:, :_WINDOW_COUNT] = windows
        self._write_trends(features, self._memory)
        return features


def encode_window(observation: ServeObservation) -> Features:
    """(WINDOW_FEATURES,) of one observation, whatever came before it."""
    raw = np.array([raw_values(observation)], np.float64)
    features = np.empty(len(WINDOW_FEATURES), np.float32)
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


def write_features(raw: FloatArray, features: Features) -> None:
    """Encode raw values in the order of RAW_NAMES, NaN where there was no sample.

    Written as loops, because the simulator compiles this function as it is.

    Args:
        raw: (rows, RAW_NAMES).
        features: (rows, WINDOW_FEATURES), filled.
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


def write_trends(features: Features, memory: FloatArray) -> None:
    """Take a window into the averages and write them and the surge's age behind its features.

    The first windows weigh alike, so that an average starts at the first sample and not at 0; a
    window without a sample leaves it as it is; the observation at reset, when nothing was served
    yet, is no window. Written as loops, because the simulator compiles this function as it is.

    Args:
        features: (rows, FEATURES); of these TRENDS and SURGE_AGE are filled.
        memory: (rows, averages, count and age, AVERAGED), updated.
    """
    for row in range(features.shape[0]):
        # The first window is no surge: there is no average yet to compare it with.
        slow = math.expm1(memory[row, _SLOW, 0] * _SPANS[_RATE])
        rate = math.expm1(features[row, _RATE] * _SPANS[_RATE])
        memory[row, _AGE, 0] = min(memory[row, _AGE, 0] + 1.0, _SURGE_HORIZON)
        if memory[row, _SPEED_COUNT, 0] > 0.0 and rate > _SURGE_RATIO * slow:
            memory[row, _AGE, 0] = 0.0
        features[row, _AGE_COLUMN] = memory[row, _AGE, 0] / _SURGE_HORIZON
        for i in range(_AVERAGED_COLUMNS.size):
            windows, flag = memory[row, _SPEED_COUNT, i], _FLAG_COLUMNS[i]
            if windows == _NOTHING_SEEN:
                memory[row, _SPEED_COUNT, i] = 0.0
            elif flag < 0 or features[row, flag] > 0.0:
                memory[row, _SPEED_COUNT, i] = windows + 1.0
                for k in range(_SPEED_COUNT):
                    weight = max(_NEWEST[k], 1.0 / (windows + 1.0))
                    value = features[row, _AVERAGED_COLUMNS[i]]
                    memory[row, k, i] += weight * (value - memory[row, k, i])
            for k in range(_SPEED_COUNT):
                features[row, _WINDOW_COUNT + _SPEED_COUNT * i + k] = memory[row, k, i]
