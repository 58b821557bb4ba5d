"""What a good operator would configure: rules from the literature, none of them tuned here."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from agents.knobs import LARGEST_KV, SMALLEST_KV, KnobMenu, Setting, clip_kv, kv_in_use
from agents.load_estimate import LoadEstimate
from agents.rules import load_rules
from llmserve_env.action_encoding import LEVELS
from llmserve_env.models import QuantizationTier, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment

KV_LEVELS_PER_ONE: Final = 20  # the budget moves in twentieths
FULL: Final = 1.0  # a full pool is full, however many wait before it


class HeuristicAgent:
    """One rule per knob; thresholds and their sources are in data/rules.toml.

    - Batch cap: stays above demand, running and waiting, so that requests join at every iteration
      (Orca, Yu et al., OSDI 2022), up to vLLM's default.
    - KV budget: what is in use and what waits stays below nine tenths of it (vLLM's
      gpu_memory_utilization); it holds at least one request of the model's greatest length (vLLM
      refuses to start otherwise); it shrinks to the largest need of the last windows.
    - Speculation: off at large batch, on at small (SmartSpec, Liu et al. 2024, arXiv:2406.14066).
    - Tier: the least quantised one that the sustained load leaves a fifth of both the time and the
      KV pool (load awareness as in Decima, Mao et al., SIGCOMM 2019; the scarcer of two resources
      as in Ghodsi et al., NSDI 2011), and rarely, since a switch stops serving.
    - Priority: on when the top class misses its objectives (vLLM's priority scheduling).
    - Split: only under long prompts that disturb decoding (DistServe, Zhong et al., OSDI 2024).
    """

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Start from the task's default setting."""
        self._menu, self._load = KnobMenu(task), LoadEstimate(task)
        self._rules = load_rules().heuristic
        deployment, gpus = build_deployment(task), task.deployment.gpus
        block_tokens = int(deployment.fleet[0]["block_tokens"]) * gpus
        self._pool_tokens = {
            tier: deployment.pool_blocks(tier) * block_tokens for tier in self._menu.tiers
        }
        self._gpus, self._longest_tokens = gpus, task.deployment.max_model_len_tokens
        self._itl_slo_ms = min(task.slo.itl_ms)
        self._setting = self._menu.default
        self._utilisation = dict.fromkeys(self._menu.tiers, 0.0)
        self._top_missed = self._long_prompts = 0.0
        self._since_switch = 0
        self._kv_needs: deque[float] = deque(maxlen=int(self._rules.kv_hold_windows))
        self._kv_needs.append(self._setting.kv_budget_fraction)

    def act(self, observation: ServeObservation) -> ServeAction:
        """One rule after the other."""
        if observation.step_index > 0:
            self._watch(observation)
            tier, split = self._switched(observation)
            self._setting = Setting(
                batch_cap=self._batch_cap(observation),
                kv_budget_fraction=self._kv_budget(observation, tier),
                speculation_depth=self._depth(observation),
                quantization_tier=tier,
                prefill_decode_split=split,
                priority_routing=self._priority(),
            )
        return self._menu.action(self._setting)

    def _watch(self, observation: ServeObservation) -> None:
        """Follow the load in every tier, the top class's misses and the prompts, smoothed."""
        share = 1.0 / self._rules.load_windows
        self._load.update(observation)
        for tier, utilisation in self._utilisation.items():
            memory = self._kv_tokens(observation) / self._pool_tokens[tier]
            scarcer = max(self._load.arriving(tier), min(memory, FULL))
            self._utilisation[tier] += share * (scarcer - utilisation)
        missed = observation.slo_violation_rate[0]
        if missed is not None:
            self._top_missed += share * (missed - self._top_missed)
        is_long = self._load.mean_prompt_tokens > self._rules.split_prompt_tokens
        self._long_prompts += share * (is_long - self._long_prompts)
        self._since_switch += 1

    def _batch_cap(self, observation: ServeObservation) -> int:
        """The smallest level above demand, per GPU."""
        rules = self._rules
        demand = observation.active_requests + observation.queue_depth
        wanted = rules.cap_over_demand * demand / self._gpus
        wanted = min(max(wanted, rules.cap_floor), rules.cap_ceiling)
        level: int = next(level for level in LEVELS["batch_cap"] if level >= wanted)
        return level

    def _kv_tokens(self, observation: ServeObservation) -> float:
        """KV in use, and the prompts that wait or came last."""
        held = kv_in_use(observation) * self._pool_tokens[self._setting.quantization_tier]
        prompt = observation.mean_prompt_length or self._load.mean_prompt_tokens
        return held + (observation.queue_depth + observation.arrived_requests) * prompt

    def _kv_budget(self, observation: ServeObservation, tier: QuantizationTier) -> float:
        """The largest need of the last windows, upwards to a level."""
        pool_tokens = self._pool_tokens[tier]
        need = self._kv_tokens(observation) / pool_tokens / self._rules.kv_use_target
        floor = self._longest_tokens * self._gpus / pool_tokens
        self._kv_needs.append(max(need, floor))
        wanted = min(max(*self._kv_needs, SMALLEST_KV), LARGEST_KV)
        return clip_kv(math.ceil(round(wanted * KV_LEVELS_PER_ONE, 6)) / KV_LEVELS_PER_ONE)

    def _depth(self, observation: ServeObservation) -> int:
        """The deep setting at small batch, none at large, the last one between."""
        batch = observation.active_requests / self._gpus
        if batch > self._rules.depth_off_above:
            return 0
        if batch < self._rules.depth_on_below:
            return int(self._rules.depth_when_idle)
        return self._setting.speculation_depth

    def _switched(self, observation: ServeObservation) -> tuple[QuantizationTier, bool]:
        """Tier and split; both stop the engine when they change, so both wait for the dwell."""
        now = self._setting
        if self._since_switch < self._rules.dwell_windows:
            return now.quantization_tier, now.prefill_decode_split
        wanted = self._tier(), self._split(observation)
        if wanted != (now.quantization_tier, now.prefill_decode_split):
            self._since_switch = 0
        return wanted

    def _tier(self) -> QuantizationTier:
        """The first tier that is idle enough, or else the idlest.

        Going back to a less quantised one takes a lower load than staying does.
        """
        tiers, rules = self._menu.tiers, self._rules
        current = tiers.index(self._setting.quantization_tier)
        for index, tier in enumerate(tiers):
            bound = rules.utilisation_target if index >= current else rules.utilisation_release
            if self._utilisation[tier] <= bound:
                return tier
        return min(tiers, key=self._utilisation.__getitem__)

    def _split(self, observation: ServeObservation) -> bool:
        """Whether long prompts dominate and, unless split already, decoding suffers from them."""
        if not self._menu.moves("prefill_decode_split"):
            return self._setting.prefill_decode_split
        is_long = self._long_prompts > 0.5
        if self._setting.prefill_decode_split:
            return is_long
        itl_ms = observation.p50_itl_ms or 0.0
        return is_long and itl_ms > self._rules.split_itl_ratio * self._itl_slo_ms

    def _priority(self) -> bool:
        if self._top_missed > self._rules.priority_on_above:
            return True
        if self._top_missed < self._rules.priority_off_below:
            return False
        return self._setting.priority_routing
