"""Turns measurements and a reward into what a policy sees."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from llmserve_env.models import ServeAction, ServeObservation
from simulator.deployment import Deployment
from simulator.outcome import METRICS
from simulator.state import Records

Built = TypeVar("Built", bound=BaseModel)

_set = object.__setattr__  # the records are frozen
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

    Built without validation, see `built`; tests hold the result to the model's bounds.
    """
    return built(
        ServeObservation,
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


def built(model: type[Built], fields: dict[str, Any]) -> Built:
    """A record that holds this dict, all of the model's fields and each of them right.

    By hand: validating an observation costs as much as simulating its window, and pydantic's own
    model_construct half of that.
    """
    record = model.__new__(model)
    _set(record, "__dict__", fields)
    _set(record, "__pydantic_fields_set__", _names(model))
    _set(record, "__pydantic_extra__", None)
    _set(record, "__pydantic_private__", None)
    return record


@cache
def _names(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


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
