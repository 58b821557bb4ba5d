"""The deployment that is both measured and simulated: profile cpu-tiny, its limits, its traffic."""

from __future__ import annotations

from typing import Any, Final

from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.hardware import BYTES_PER_GB, load_profile
from simulator.records import RequestBatch
from simulator.workload import task_requests

PROFILE: Final = "cpu-tiny"
FAST_PROFILE: Final = "cpu-tiny-fast"
# What scripts/serve_vllm_cpu.sh starts vLLM with.
SERVER_BATCH_CAP: Final = 64
TOKEN_BUDGET: Final = 2_048
MAX_MODEL_LEN: Final = 2_048
KV_BLOCK_TOKENS: Final = 128
KV_BLOCK_BYTES: Final = KV_BLOCK_TOKENS * 16_384
KV_BYTES: Final = 512 * KV_BLOCK_BYTES
WINDOW_S: Final = 0.5
FOREVER_S: Final = 1e9

# Lengths that vary sixteenfold and more; a request holds one to eight KV blocks of 128 tokens.
PROMPT: Final = {"kind": "lognormal", "mu": 4.4, "sigma": 0.7, "low": 16, "high": 768}
OUTPUT: Final = {"kind": "lognormal", "mu": 3.6, "sigma": 0.6, "low": 4, "high": 160}
# Bursts as those of bursty_workload, over a shorter period.
BURST_S: Final = 2.0
PERIOD_S: Final = 6.0


def arrivals(family: str, rate_rps: float) -> dict[str, Any]:
    """An arrival process of this mean rate: poisson, or bursts of half of all requests.

    Raises:
        ValueError: If the family is another.
    """
    if family == "poisson":
        return {"family": "poisson", "rate_rps": rate_rps}
    if family == "bursts":
        return {
            "family": "bursts",
            "rate_rps": 0.5 * rate_rps,
            "burst_rate_rps": 0.5 * rate_rps * PERIOD_S / BURST_S,
            "burst_s": BURST_S,
            "period_s": PERIOD_S,
            "period_jitter_fraction": 0.6,
        }
    raise ValueError(f"family must be poisson or bursts, got {family!r}")


def setting(batch_cap: int, kv_budget_fraction: float = 1.0) -> ServeAction:
    """The defaults of vLLM but for the batch cap and the KV budget."""
    return ServeAction(
        batch_cap=batch_cap,
        kv_budget_fraction=kv_budget_fraction,
        speculation_depth=0,
        quantization_tier="FP16",
        prefill_decode_split=False,
        priority_routing=False,
    )


def tiny_task(
    family: str, rate_rps: float, seconds: float, *, kv_bytes: int = KV_BYTES, **changes: Any
) -> TaskSpec:
    """A task on the profile under this traffic; `changes` replace fields of it."""
    profile = load_profile(PROFILE)
    memory_bytes = profile.tier("FP16").weight_bytes + profile.serving.activation_bytes + kv_bytes
    fields: dict[str, Any] = {
        "task_id": "tiny",
        "name": "Tiny",
        "difficulty": "easy",
        "description": "A tiny model on a CPU under traffic that a real server is sent too.",
        "gymnasium_id": "none",
        "windows": max(round(seconds / WINDOW_S), 1),
        "window_s": WINDOW_S,
        "active_actions": ["batch_cap", "kv_budget_fraction"],
        "default_action": setting(SERVER_BATCH_CAP),
        "deployment": {
            "profile": PROFILE,
            "memory_limit_gb": memory_bytes / BYTES_PER_GB,
            "token_budget": TOKEN_BUDGET,
            "max_model_len_tokens": MAX_MODEL_LEN,
            "queue_timeout_s": FOREVER_S,
            "switch_regime": "standby",
        },
        "slo": {"ttft_ms": [1_000.0] * 3, "itl_ms": [60.0] * 3},
        "workload": {
            "streams": [
                {
                    "name": "varied",
                    "arrivals": arrivals(family, rate_rps),
                    "prompt": PROMPT,
                    "output": OUTPUT,
                    "acceptance": {"first": 0.0, "ratio": 1.0, "spread": 0.0},
                }
            ]
        },
        "reward": {"throughput": 1.0},
    }
    return TaskSpec.model_validate(fields | changes)


def traffic(family: str, rate_rps: float, seconds: float, seed: int) -> RequestBatch:
    """The requests of so many seconds."""
    return task_requests(tiny_task(family, rate_rps, seconds), seed)
