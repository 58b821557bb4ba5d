"""The numbers of the untuned agents: a strict reader of data/rules.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from pydantic import Field, model_validator

from llmserve_env.workloads import Positive, Spec


class _Rules(Spec):
    """One table of the file: numbers, each given as { value, source }; units are in the names."""

    @model_validator(mode="before")
    @classmethod
    def _take_values(cls, table: dict[str, Any]) -> dict[str, Any]:
        return {name: Sourced.model_validate(entry).value for name, entry in table.items()}


class Sourced(Spec):
    """A number and where it comes from."""

    value: Positive
    source: str = Field(min_length=1)


class LoadRules(_Rules):
    """How load_estimate.py forgets, and what it believes at first."""

    forget_windows: float
    prior_requests: float
    prior_output_tokens: float
    prior_prompt_tokens: float


class HeuristicRules(_Rules):
    """Thresholds of heuristic.py."""

    cap_over_demand: float
    cap_floor: float
    cap_ceiling: float
    kv_use_target: float
    kv_hold_windows: float
    depth_when_idle: float
    depth_off_above: float
    depth_on_below: float
    utilisation_target: float
    utilisation_release: float
    load_windows: float
    dwell_windows: float
    priority_on_above: float
    priority_off_below: float
    split_prompt_tokens: float
    split_itl_ratio: float


class AimdRules(_Rules):
    """Steps of aimd.py."""

    step_small: float
    step_large: float
    increase_below: float
    backoff_mild: float
    backoff_hard: float
    hard_above: float
    dwell_windows: float
    cap_floor: float
    kv_over_use: float
    kv_base: float
    kv_growth: float
    kv_shrink: float


class DynamicSdRules(_Rules):
    """The table of dynamic_sd.py, in sequences per GPU and draft tokens."""

    deep_batch: float
    deep_depth: float
    shallow_batch: float
    shallow_depth: float
    margin: float


class Rules(Spec):
    """The whole file."""

    load: LoadRules
    heuristic: HeuristicRules
    aimd: AimdRules
    dynamic_sd: DynamicSdRules


@cache
def load_rules() -> Rules:
    """The numbers that come with the package; pydantic's error names what is wrong where."""
    text = resources.files("agents.data").joinpath("rules.toml").read_text(encoding="utf-8")
    return Rules.model_validate(tomllib.loads(text))
