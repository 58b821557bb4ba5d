"""Turns measurements and a reward into what a policy sees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llmserve_env.models import ServeAction, ServeObservation
from simulator.deployment import Deployment
from simulator.outcome import METRICS
from simulator.state import Records

_FIELDS = set(ServeObservation.model_fields)
_set = object.__setattr__  # the record is frozen
NO_SAMPLE_COLUMNS = (
    "prompt_tokens_mean",
    "ttft_p50_s",
    "ttft_p99_s",
    "itl_p50_s",
    "itl_p99_s",
    "acceptance_fraction",
)


def observe(
    fields: dict[str, Any],
    *,
    task_id: str,
    step_index: int,
    config: ServeAction,
    reward: float | None,
    done: bool,
    metadata: dict[str, Any],
) -> ServeObservation:
    """The observation of these snapshot fields.

    Built without validation, and by hand: validating costs as much as simulating the window, and
    pydantic's own model_construct half of that. Tests hold the result to the model's bounds.
    """
    observation = ServeObservation.__new__(ServeObservation)
    _set(
        observation,
        "__dict__",
        {
            **fields,
            "step_index": step_index,
            "task_id": task_id,
            "config": config,
            "reward": reward,
            "done": done,
            "metadata": metadata,
        },
    )
    _set(observation, "__pydantic_fields_set__", _FIELDS)
    _set(observation, "__pydantic_extra__", None)
    _set(observation, "__pydantic_private__", None)
    return observation


def empty_metrics(deployment: Deployment, config: ServeAction) -> Records:
    """(1,) METRICS of an engine that has started and served nothing yet."""
    terms, gpus = deployment.terms[0], int(deployment.fleet[0]["gpus"])
    weights = float(terms[f"weight_bytes_{config.quantization_tier.lower()}"])
    fixed = gpus * (weights + float(terms["activation_bytes"]))
    pool_blocks = deployment.pool_blocks(config.quantization_tier)
    budget_blocks = int(config.kv_budget_fraction * pool_blocks)
    metrics = np.zeros(1, METRICS)
    record = metrics[0]
    for column in NO_SAMPLE_COLUMNS:
        record[column] = math.nan
    record["memory_used_bytes"] = fixed
    record["memory_reserved_bytes"] = fixed + gpus * budget_blocks * float(terms["block_bytes"])
    return metrics
