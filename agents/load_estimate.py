"""Estimates the offered load from what is observed, in GPU seconds of work per second and GPU."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from agents.rules import load_rules
from llmserve_env.models import TIERS, QuantizationTier, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import Deployment, build_deployment
from simulator.load import REFERENCE_BATCH

# Lengths are looked up in steps of this many tokens: an interpolation would cost more than it adds.
STEP_TOKENS: Final = 64


class LoadEstimate:
    """The load that arrives and the load that waits, window by window.

    Output lengths are not observed: their mean is estimated by tokens over requests finished, with
    exponential forgetting. Prompt lengths of waiting requests are taken as the recent mean.
    """

    def __init__(self, task: TaskSpec) -> None:
        """Start with the rules' prior on output lengths."""
        rules = load_rules().load
        self._arrival_rps = self._queued = 0.0
        self._window_prompt: float | None = None
        self._forget = 1.0 / rules.forget_windows
        self._requests = rules.prior_requests / rules.forget_windows
        self._output = self._requests * rules.prior_output_tokens
        self._prompt = rules.prior_prompt_tokens
        self._window_s = task.window_s
        self._gpus = task.deployment.gpus
        self._longest = task.deployment.max_model_len_tokens // STEP_TOKENS
        self._costs = {tier: request_costs(task, tier) for tier in build_deployment(task).tiers}

    def update(self, observation: ServeObservation) -> None:
        """Take in the last window."""
        if observation.step_index == 0:
            return
        forget = self._forget
        self._requests += forget * (observation.finished_requests - self._requests)
        tokens = observation.throughput_tps * self._window_s
        self._output += forget * (tokens - self._output)
        prompt = self._window_prompt = observation.mean_prompt_length
        if prompt is not None:
            self._prompt += forget * (prompt - self._prompt)
        self._arrival_rps = observation.request_arrival_rate
        self._queued = observation.queue_depth

    def arriving(self, tier: QuantizationTier) -> float:
        """Work that arrived in the last window over what the tier can do; 1 is all it can."""
        if self._window_prompt is None:
            return 0.0
        return self.offered(tier, self._arrival_rps, self._window_prompt)

    def offered(self, tier: QuantizationTier, arrival_rps: float, prompt_tokens: float) -> float:
        """Work of requests that arrive at this rate over what the tier can do."""
        return arrival_rps * self.request_s(tier, prompt_tokens) / self._gpus

    def queued_s(self, tier: QuantizationTier) -> float:
        """Seconds that the whole deployment needs in this tier for what waits."""
        if not self._queued:
            return 0.0
        return self._queued * self.request_s(tier, self._prompt) / self._gpus

    @property
    def mean_output_tokens(self) -> float:
        """The estimate of the mean output length."""
        return self._output / max(self._requests, self._forget)

    @property
    def mean_prompt_tokens(self) -> float:
        """The recent mean prompt length."""
        return self._prompt

    def request_s(self, tier: QuantizationTier, prompt_tokens: float) -> float:
        """GPU seconds of a request with this prompt and an output of the estimated mean."""
        prefill_s, decode_token_s = self._costs[tier]
        output = self.mean_output_tokens
        longest = self._longest
        context = min(int(prompt_tokens + 0.5 * output) // STEP_TOKENS, longest)
        prompt = min(int(prompt_tokens) // STEP_TOKENS, longest)
        return prefill_s[prompt] + output * decode_token_s[context]


@cache
def request_costs(
    task: TaskSpec, tier: QuantizationTier
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """GPU seconds of a prompt, and of one output token, per STEP_TOKENS of prompt and of context.

    As simulator/load.py costs them: full prefill chunks, decode at batch REFERENCE_BATCH.
    """
    deployment: Deployment = build_deployment(task)
    tables, row = deployment.tables, TIERS.index(tier)
    tokens = STEP_TOKENS * np.arange(task.deployment.max_model_len_tokens // STEP_TOKENS + 1)
    budget = task.deployment.token_budget
    prompt_s = tokens * (tables.linear_s[row, budget] / budget)
    prompt_s += np.interp(tokens, tables.new_nodes, tables.attn_prefill_s[:, 0])
    step_s = tables.linear_s[row, REFERENCE_BATCH] + tables.lm_head_s[REFERENCE_BATCH]
    attention_s = np.interp(tokens, tables.kv_nodes, tables.attn_decode_s[REFERENCE_BATCH])
    decode_s = (step_s + attention_s) / REFERENCE_BATCH
    return tuple(prompt_s.tolist()), tuple(decode_s.tolist())
