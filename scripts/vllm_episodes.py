"""Episodes of the tiny vLLM's own tasks, for the scripts that train for it and play on it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from scripts.local_server import ROOT
from scripts.tiny_deployment import PROFILE
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_settings import RealSettings
from server.real_traffic import scaled_task

TASK_FILE: Final = Path(__file__).with_name("tiny_vllm_task.toml")
# By how much the steps of profile cpu-tiny are slower than those of cpu-tiny-fast.
SLOW: Final = 2.5
RATE_EXPONENT: Final = 0.8
# What scripts/train_for_vllm.py writes.
WEIGHTS: Final = Path("weights/tiny_bursts.npz")  # from the project's root, where it is run
TRAINING: Final = ROOT / "docs" / "real_vllm" / "training.json"


def tiny_catalogue(*, windows: int | None = None) -> Catalogue:
    """The shipped tasks and, as variants, the tiny vLLM's two; `windows` replaces their length."""
    described = tomllib.loads(TASK_FILE.read_text(encoding="utf-8"))
    repeating, streams = described.pop("repeating"), described["workload"]["streams"]
    again = [stream | {"acceptance": repeating["acceptance"]} for stream in streams]
    others = described | {
        "task_id": repeating["task_id"],
        "workload": described["workload"] | {"streams": again},
    }
    variants = tuple(_task(each, windows) for each in (described, others))
    return shipped_catalogue().model_copy(update={"variants": variants})


def _task(described: dict[str, Any], windows: int | None) -> TaskSpec:
    fields = dict(described)
    base = shipped_catalogue().get(fields.pop("base_task"))
    fields |= {
        "windows": fields["windows"] if windows is None else windows,
        "name": "Bursts for a tiny vLLM",
        "description": "Bursts of chat beside batch work, scaled to a tiny model on a CPU.",
        "difficulty": base.difficulty,
        "gymnasium_id": base.gymnasium_id,
        "variant_of": base.task_id,
    }
    return TaskSpec.model_validate(fields)


def tiny_task(*, windows: int | None = None, repeats: bool = False) -> TaskSpec:
    """The tiny vLLM's task; `repeats`: as at temperature 0, where drafts are accepted."""
    return tiny_catalogue(windows=windows).variants[int(repeats)]


def rate_scale_at(slowdown: float) -> float:
    """The factor on the rate at which vLLM's defaults meet as much as at full speed.

    Found in the simulator, with objectives that grow with the slowdown: bursts do not get longer,
    so that a slower server can take more of them.
    """
    return math.pow(slowdown, -RATE_EXPONENT)


def slow_task(*, repeats: bool = False) -> TaskSpec:
    """The same on the machine of profile cpu-tiny: what is learnt must hold on slower servers."""
    task = tiny_task(repeats=repeats)
    scaled = scaled_task(task, rate_scale=rate_scale_at(SLOW), slo_scale=SLOW)
    deployment = task.deployment.model_copy(update={"profile": PROFILE})
    return scaled.model_copy(update={"task_id": f"{task.task_id}_slow", "deployment": deployment})


def settings_on(base_url: str, control_url: str, **changes: Any) -> RealSettings:
    """Settings that play the task as it is, on a vLLM with the plugin."""
    fields: dict[str, Any] = {
        "mode": "real",
        "real_provider": "vllm",
        "real_model": "tiny",
        "real_base_url": base_url,
        "real_control_url": control_url,
        "real_rate_scale": 1.0,
        "real_max_completion_tokens": 128,
        "real_request_timeout_s": 30.0,
    }
    return RealSettings.model_validate(fields | changes)


@contextmanager
def environment_on(
    settings: RealSettings, *, windows: int | None = None
) -> Iterator[RealEnvironment]:
    """An environment that knows the tiny task; the server has its defaults back at the end."""
    connection = RealConnection(settings)
    environment = RealEnvironment(connection, tiny_catalogue(windows=windows))
    try:
        yield environment
    finally:
        environment.close()
        connection.close()
