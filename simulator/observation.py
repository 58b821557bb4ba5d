"""Turns measurements and a reward into what a policy sees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llmserve_env.models import ServeAction, ServeObservation
from simulator.deployment import Deployment
from simulator.metrics import snapshot
from simulator.state import METRICS

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

    Built without validation, which would cost as much as simulating the window; the tests hold
    what comes out to the model's bounds.
    """
    return ServeObservation.model_construct(
        **fields,
        task_id=task_id,
        step_index=step_index,
        config=config,
        reward=reward,
        done=done,
        metadata=metadata,
    )


def empty_fields(deployment: Deployment, config: ServeAction) -> dict[str, Any]:
    """The snapshot fields of an engine that has started and served nothing yet."""
    terms, gpus = deployment.terms[0], int(deployment.fleet[0]["gpus"])
    weights = float(terms[f"weight_bytes_{config.quantization_tier.lower()}"])
    fixed = gpus * (weights + float(terms["activation_bytes"]))
    pool_blocks = deployment.pool_blocks(config.quantization_tier)
    budget_blocks = int(config.kv_budget_fraction * pool_blocks)
    record = np.zeros(1, METRICS)[0]
    for column in NO_SAMPLE_COLUMNS:
        record[column] = math.nan
    record["memory_used_bytes"] = fixed
    record["memory_reserved_bytes"] = fixed + gpus * budget_blocks * float(terms["block_bytes"])
    return snapshot(record)
