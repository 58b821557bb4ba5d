"""Turns a task's deployment into the constants that the compiled engine reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import TIERS, QuantizationTier
from llmserve_env.tasks import DeploymentSpec, TaskSpec
from simulator.hardware import BYTES_PER_GB, SECONDS_PER_MS, load_profile
from simulator.hardware_records import Profile
from simulator.outcome import TERMS
from simulator.perf_model import PerfTables, tables_of
from simulator.records import FloatArray
from simulator.rng import stream
from simulator.state import CLASSES, FLEET, Records, Tables

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a task serves on.

    Attributes:
        profile: GPU, model, tiers, serving and switching facts.
        perf: Measured times, as readers and the plain-Python engine use them.
        fleet: (1,) FLEET, as the compiled engine reads it.
        terms: (1,) TERMS, as the compiled metrics read it.
        tables: Measured times, as the compiled engine reads them.
    """

    profile: Profile
    perf: PerfTables
    fleet: Records
    terms: Records
    tables: Tables

    @property
    def tiers(self) -> tuple[QuantizationTier, ...]:
        """The tiers that the profile offers and whose weights fit the memory granted."""
        return tuple(tier for tier in self.profile.offered if self.pool_blocks(tier) > 0)

    def pool_blocks(self, tier: QuantizationTier) -> int:
        """KV blocks per GPU at kv_budget_fraction 1."""
        return int(self.fleet[0][f"pool_blocks_{tier.lower()}"])


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Factors on the measured times, fixed for one episode."""

    linear: float = 1.0
    attention: float = 1.0
    host: float = 1.0


def draw_step_costs(spec: DeploymentSpec, seed: int) -> StepCosts:
    """The episode's step costs: two measured sources differ by this much, so must policies cope."""

    def factor(name: str, spread: float) -> float:
        return float(stream(seed, f"step_costs/{name}").uniform(1.0 - spread, 1.0 + spread))

    return StepCosts(
        linear=factor("linear", spec.linear_spread),
        attention=factor("attention", spec.attention_spread),
        host=factor("host", spec.host_spread),
    )


def build_deployment(task: TaskSpec) -> Deployment:
    """The deployment of a task.

    Raises:
        InvalidInputError: If the profile is unknown, more memory is granted than the GPU has,
            longer sequences than the model takes, or the default tier does not fit.
        TierNotOfferedError: If the profile does not offer the default tier.
    """
    return _built(task, load_profile(task.deployment.profile))


@cache
def _built(task: TaskSpec, profile: Profile) -> Deployment:
    spec = task.deployment
    if spec.memory_limit_gb * BYTES_PER_GB > profile.gpu.memory_bytes:
        raise InvalidInputError(
            f"memory_limit_gb {spec.memory_limit_gb:g} is more than {profile.gpu.name} has: "
            f"{profile.gpu.memory_bytes / BYTES_PER_GB:g}"
        )
    if spec.max_model_len_tokens > profile.model.context_tokens:
        raise InvalidInputError(
            f"max_model_len_tokens {spec.max_model_len_tokens} is more than {profile.model.name} "
            f"takes: {profile.model.context_tokens}"
        )
    profile.tier(task.default_action.quantization_tier)  # refuses one that is not offered
    perf = tables_of(profile, profile.int4.efficiency)
    deployment = Deployment(
        profile=profile,
        perf=perf,
        fleet=_fleet(spec, profile),
        terms=_terms(task, profile),
        tables=Tables(
            linear_s=perf.linear_s,
            lm_head_s=perf.lm_head_s,
            attn_decode_s=perf.attn_decode_s,
            kv_nodes=perf.kv_nodes,
            kv_segments=_segments(perf.kv_nodes),
            attn_prefill_s=perf.attn_prefill_s,
            new_nodes=perf.new_nodes,
            new_segments=_segments(perf.new_nodes),
            prefix_nodes=perf.prefix_nodes,
            prefix_segments=_segments(perf.prefix_nodes),
            attn_prefill_floor_s=perf.attn_prefill_floor_s,
        ),
    )
    if task.default_action.quantization_tier not in deployment.tiers:
        raise InvalidInputError(
            f"task {task.task_id!r}: the default tier {task.default_action.quantization_tier} "
            f"does not fit {spec.memory_limit_gb:g} GB of {spec.profile}"
        )
    return deployment


def _segments(nodes: FloatArray) -> npt.NDArray[np.uint8]:
    """(last node + 1,) uint8, the segment between whole nodes in which every whole number lies."""
    numbers = np.arange(int(nodes[-1]) + 1)
    segments = np.searchsorted(nodes, numbers, side="right") - 1
    return segments.clip(0, len(nodes) - 2).astype(np.uint8)


def _block_bytes(profile: Profile) -> int:
    return profile.serving.kv_block_tokens * profile.model.kv_bytes_per_token


def _pool_blocks(spec: DeploymentSpec, profile: Profile, tier: QuantizationTier) -> int:
    if tier not in profile.offered:
        return 0
    usable = profile.serving.memory_utilisation_fraction * spec.memory_limit_gb * BYTES_PER_GB
    usable -= profile.tier(tier).weight_bytes + profile.serving.activation_bytes
    return max(math.floor(usable / _block_bytes(profile)), 0)


def _fleet(spec: DeploymentSpec, profile: Profile) -> Records:
    serving = profile.serving
    values = {
        "gpus": spec.gpus,
        "token_budget": spec.token_budget,
        "max_model_len_tokens": spec.max_model_len_tokens,
        "queue_timeout_s": spec.queue_timeout_s,
        "block_tokens": serving.kv_block_tokens,
        "watermark_fraction": serving.admission_watermark_fraction,
        "host_s": serving.host_s,
        "draft_s": serving.draft_s,
        "draft_row_s": serving.draft_row_s,
        "transfer_s": serving.transfer_setup_s,
        "transfer_token_s": profile.model.kv_bytes_per_token
        / serving.transfer_bytes_per_s(spec.interconnect),
        "switch_s": profile.switching.stall_s(spec.switch_regime),
    }
    pools = {f"pool_blocks_{tier.lower()}": _pool_blocks(spec, profile, tier) for tier in TIERS}
    return _record(FLEET, values | pools)


def _terms(task: TaskSpec, profile: Profile) -> Records:
    granted_bytes = task.deployment.memory_limit_gb * BYTES_PER_GB
    reachable = _reachable_tiers(task, profile)
    least_bytes = min(profile.tier(tier).weight_bytes for tier in reachable)
    least_bytes += profile.serving.activation_bytes
    values: dict[str, float] = {
        "api_s": profile.serving.api_s,
        "usd_per_gpu_s": profile.gpu.usd_per_hour / SECONDS_PER_HOUR,
        "memory_limit_bytes": granted_bytes,
        "activation_bytes": profile.serving.activation_bytes,
        "block_bytes": _block_bytes(profile),
        "largest_pool_blocks": max(
            _pool_blocks(task.deployment, profile, tier) for tier in reachable
        ),
        "least_reserved_fraction": least_bytes / granted_bytes,
        "most_reserved_fraction": profile.serving.memory_utilisation_fraction,
        "active_knobs": len(task.active_actions),
    }
    for tier in TIERS:
        offered = tier in profile.offered
        values[f"weight_bytes_{tier.lower()}"] = (
            profile.tier(tier).weight_bytes if offered else math.nan
        )
        values[f"quality_{tier.lower()}"] = profile.tier(tier).quality if offered else math.nan
    for priority_class in range(CLASSES):
        values[f"ttft_slo_s_{priority_class}"] = task.slo.ttft_ms[priority_class] * SECONDS_PER_MS
        values[f"itl_slo_s_{priority_class}"] = task.slo.itl_ms[priority_class] * SECONDS_PER_MS
    return _record(TERMS, values)


def _reachable_tiers(task: TaskSpec, profile: Profile) -> tuple[QuantizationTier, ...]:
    """The tiers that the task's policies can choose from."""
    if "quantization_tier" not in task.active_actions:
        return (task.default_action.quantization_tier,)
    spec = task.deployment
    return tuple(tier for tier in profile.offered if _pool_blocks(spec, profile, tier) > 0)


def _record(dtype: np.dtype[np.void], values: dict[str, float]) -> Records:
    """One record with every field given exactly once."""
    record = np.zeros(1, dtype)
    for name in dtype.names or ():
        record[0][name] = values.pop(name)
    if values:
        raise ValueError(f"no such fields: {sorted(values)}")
    return record
