"""Small made-up tasks and requests: short horizons, constant lengths, no spread of step costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmserve_env.models import KNOBS, MetricsSnapshot, ServeAction
from llmserve_env.tasks import Catalogue, TaskSpec
from simulator.records import RequestBatch, WindowLog
from simulator.trace_simulator import TraceSimulator

ACTION: dict[str, Any] = {
    "batch_cap": 64,
    "kv_budget_fraction": 1.0,
    "speculation_depth": 0,
    "quantization_tier": "FP16",
    "prefill_decode_split": False,
    "priority_routing": False,
}
REWARD = {"throughput": 1.0, "cost": 0.3, "violation": 0.3, "preemption": 0.1, "drop": 0.3}


def action(**knobs: Any) -> ServeAction:
    """An action; the knobs left out have the values of ACTION."""
    return ServeAction(**ACTION | knobs)


def task(*, windows: int = 30, gpus: int = 1, **changes: Any) -> TaskSpec:
    """A task with one stream of Poisson traffic; `changes` go to its deployment or to the task."""
    deployment: dict[str, Any] = {
        "profile": "a100-llama3-8b",
        "gpus": gpus,
        "memory_limit_gb": 40.0,
        "token_budget": 2048,
        "max_model_len_tokens": 16_384,
        "queue_timeout_s": 1_000.0,
        "switch_regime": "standby",
        "interconnect": "nvlink",
    }
    fields: dict[str, Any] = {
        "task_id": "made_up",
        "name": "Made up",
        "difficulty": "easy",
        "description": "For tests.",
        "gymnasium_id": "llmserve/MadeUp-v1",
        "windows": windows,
        "active_actions": [k for k in KNOBS if gpus == 2 or k != "prefill_decode_split"],
        "default_action": ACTION,
        "slo": {"ttft_ms": (500.0, 500.0, 500.0), "itl_ms": (60.0, 60.0, 60.0)},
        "workload": {"streams": [stream()]},
        "reward": REWARD,
    }
    for name, value in changes.items():
        target = fields if name in TaskSpec.model_fields else deployment
        target[name] = value
    return TaskSpec.model_validate(fields | {"deployment": deployment})


def stream(**changes: Any) -> dict[str, Any]:
    """The fields of a traffic stream: 5 requests/s of 100 prompt and 50 output tokens."""
    return {
        "name": "chat",
        "arrivals": {"family": "poisson", "rate_rps": 5.0},
        "prompt": {"kind": "constant", "tokens": 100},
        "output": {"kind": "constant", "tokens": 50},
        "acceptance": {"first": 0.7, "ratio": 0.95, "spread": 0.0},
    } | changes


def catalogue(*tasks: TaskSpec) -> Catalogue:
    """A catalogue of these tasks."""
    return Catalogue(environment_version="0.0.0", tasks=tasks or (task(),))


def requests(
    arrival_s: Sequence[float] | np.ndarray,
    *,
    prompt: int | Sequence[int] = 100,
    output: int | Sequence[int] = 50,
    priority_class: int | Sequence[int] = 1,
    acceptance: float = 0.7,
) -> RequestBatch:
    """Requests with these lengths and classes, each one number for all or one per request."""
    count = len(arrival_s)

    def column(value: int | Sequence[int]) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.int64), count).copy()

    return RequestBatch(
        arrival_s=np.asarray(arrival_s, np.float64),
        prompt_tokens=column(prompt),
        output_tokens=column(output),
        priority_class=column(priority_class),
        stream=column(0),
        acceptance_first=np.full(count, acceptance),
        acceptance_ratio=np.full(count, 0.95),
        load_level=1.0,
    )


def together(count: int, at_s: float = 0.0) -> np.ndarray:
    """Arrival times of so many requests at once."""
    return np.full(count, at_s)


def every(gap_s: float, count: int) -> np.ndarray:
    """Arrival times at equal distances, the first after half a gap."""
    return gap_s * (np.arange(count) + 0.5)


def started(spec: TaskSpec, batch: RequestBatch, *, seed: int = 0) -> TraceSimulator:
    """A simulator at the start of an episode of this task under these requests."""
    simulator = TraceSimulator()
    simulator.load(spec, batch, seed)
    return simulator


def play(simulator: TraceSimulator, held: ServeAction, windows: int) -> list[WindowLog]:
    """The logs of so many windows under one action."""
    return [simulator.simulate(held) for _ in range(windows)]


def held(simulator: TraceSimulator, setting: ServeAction, windows: int) -> MetricsSnapshot:
    """The metrics after so many windows of one action."""
    play(simulator, setting, windows)
    return simulator.metrics()
