"""How heavily requests load a deployment, whatever a policy makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.deployment import Deployment
from simulator.records import FloatArray, RequestBatch

# The batch at which a decode step is costed: deep enough that weights are read for many.
REFERENCE_BATCH = 128
PEAK_SPAN_S = 10.0


@dataclass(frozen=True, slots=True)
class OfferedLoad:
    """GPU seconds of work that arrive per GPU second: rho; above 1 a queue must grow.

    Attributes:
        mean: Over the whole episode.
        peak: Largest over stretches of 10 s.
    """

    mean: float
    peak: float


def offered_load(batch: RequestBatch, deployment: Deployment, *, horizon_s: float) -> OfferedLoad:
    """The load in the profile's first tier: full prefill chunks, decode at batch 128."""
    work_s = request_work_s(batch, deployment)
    gpus = int(deployment.fleet[0]["gpus"])
    edges = np.arange(0.0, horizon_s + PEAK_SPAN_S, PEAK_SPAN_S)
    per_span, _ = np.histogram(batch.arrival_s, bins=edges, weights=work_s)
    return OfferedLoad(
        mean=float(work_s.sum() / (horizon_s * gpus)),
        peak=float(per_span.max() / (PEAK_SPAN_S * gpus)),
    )


def request_work_s(batch: RequestBatch, deployment: Deployment) -> FloatArray:
    """(requests,) float64, GPU seconds that each request needs."""
    tables, tier = deployment.tables, 0
    budget = int(deployment.fleet[0]["token_budget"])
    prefill_token_s = tables.linear_s[tier, budget] / budget
    fixed_s = tables.linear_s[tier, REFERENCE_BATCH] + tables.lm_head_s[REFERENCE_BATCH]
    mean_context = batch.prompt_tokens + 0.5 * batch.output_tokens
    attention_s = np.interp(mean_context, tables.kv_nodes, tables.attn_decode_s[REFERENCE_BATCH])
    prompt_attention_s = np.interp(
        batch.prompt_tokens, tables.new_nodes, tables.attn_prefill_s[:, 0]
    )
    decode_token_s = (fixed_s + attention_s) / REFERENCE_BATCH
    work_s: FloatArray = (
        batch.prompt_tokens * prefill_token_s
        + prompt_attention_s
        + batch.output_tokens * decode_token_s
    )
    return work_s
