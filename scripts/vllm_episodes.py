"""Episodes of the tiny vLLM's own task, for the scripts that play on it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from llmserve_env.models import ServeAction
from llmserve_env.tasks import Catalogue, SloSpec, TaskSpec, shipped_catalogue
from llmserve_env.workloads import WorkloadSpec
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_settings import RealSettings

TASK_FILE: Final = Path(__file__).with_name("tiny_vllm_task.toml")


def tiny_catalogue(*, windows: int | None = None) -> Catalogue:
    """The shipped tasks and, as a variant, the tiny vLLM's; `windows` replaces its length."""
    described = tomllib.loads(TASK_FILE.read_text(encoding="utf-8"))
    shipped = shipped_catalogue()
    base = shipped.get(described["base_task"])
    task = base.model_copy(
        update={
            "task_id": described["task_id"],
            "name": "Bursts for a tiny vLLM",
            "description": "Chat traffic with bursts, scaled to a tiny model on a CPU.",
            "windows": described["windows"] if windows is None else windows,
            "default_action": ServeAction.model_validate(described["default_action"]),
            "slo": SloSpec.model_validate(described["slo"]),
            "workload": WorkloadSpec.model_validate(described["workload"]),
            "variant_of": base.task_id,
        }
    )
    return shipped.model_copy(update={"variants": (task,)})


def tiny_task(*, windows: int | None = None) -> TaskSpec:
    """That task alone."""
    return tiny_catalogue(windows=windows).variants[0]


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
