"""Turns a task, a trace seed and a rate into the requests that a real server is sent."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import SloSpec, TaskSpec
from server.real_settings import RealSettings
from simulator.records import RequestBatch
from simulator.workload import task_requests


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an episode sends, whatever a policy does.

    Attributes:
        task: The task at this rate, with scaled objectives and as many windows as the budget pays.
        requests: Its requests, with lengths within the limits.
        facts: What was scaled, shortened and left out.
    """

    task: TaskSpec
    requests: RequestBatch
    facts: dict[str, Any]


def plan_traffic(
    task: TaskSpec, trace_seed: int, settings: RealSettings, *, rate_scale: float
) -> Traffic:
    """The traffic of an episode: the task's own, at `rate_scale` times its rate.

    The scale multiplies the load level, as the level that is drawn per episode does, so bursts and
    regimes stay where they are. Lengths are cut to the limits. Of a window with more arrivals than
    LLMSERVE_REAL_MAX_REQUESTS_PER_STEP the first are kept. The episode ends with the last window
    that the episode's budget of requests and tokens still pays in full.

    Raises:
        InvalidInputError: If the budget does not pay for one window.
    """
    scaled = scaled_task(task, rate_scale=rate_scale, slo_scale=settings.real_slo_scale)
    drawn = task_requests(scaled, trace_seed)
    requests = _shortened(drawn, settings)
    window = (requests.arrival_s / task.window_s).astype(np.int64)
    first_of_window = np.searchsorted(window, window, side="left")
    kept = np.arange(len(requests)) - first_of_window < settings.real_max_requests_per_step
    requests, window = _rows(requests, kept), window[kept]
    windows = _paid_windows(requests, window, task.windows, settings)
    if windows == 0:
        raise InvalidInputError(
            "LLMSERVE_REAL_MAX_REQUESTS_PER_EPISODE or LLMSERVE_REAL_MAX_TOKENS_PER_EPISODE does "
            f"not pay for one window of {task.task_id!r} at rate scale {rate_scale:.4g}"
        )
    paid = _rows(requests, window < windows)
    facts = {
        "rate_scale": rate_scale,
        "slo_scale": settings.real_slo_scale,
        "windows": windows,
        "windows_of_task": task.windows,
        "requests": len(paid),
        "tokens_at_most": int(_tokens(paid).sum()),
        "requests_left_out_by_step_limit": int((~kept).sum()),
        "prompts_shortened": int((drawn.prompt_tokens > settings.real_max_prompt_tokens).sum()),
        "answers_shortened": int((drawn.output_tokens > settings.real_max_completion_tokens).sum()),
    }
    return Traffic(scaled.model_copy(update={"windows": windows}), paid, facts)


def scaled_task(task: TaskSpec, *, rate_scale: float, slo_scale: float) -> TaskSpec:
    """The task at another rate and with other objectives."""
    load = {name: getattr(task.workload, name) * rate_scale for name in ("load_low", "load_high")}
    slo = SloSpec(
        ttft_ms=tuple(value * slo_scale for value in task.slo.ttft_ms),
        itl_ms=tuple(value * slo_scale for value in task.slo.itl_ms),
    )
    return task.model_copy(update={"workload": task.workload.model_copy(update=load), "slo": slo})


def _shortened(requests: RequestBatch, settings: RealSettings) -> RequestBatch:
    return replace(
        requests,
        prompt_tokens=np.minimum(requests.prompt_tokens, settings.real_max_prompt_tokens),
        output_tokens=np.minimum(requests.output_tokens, settings.real_max_completion_tokens),
    )


def _rows(requests: RequestBatch, kept: npt.NDArray[np.bool_]) -> RequestBatch:
    columns = [field.name for field in fields(requests) if field.name != "load_level"]
    return replace(requests, **{name: getattr(requests, name)[kept] for name in columns})


def _tokens(requests: RequestBatch) -> npt.NDArray[np.int64]:
    return requests.prompt_tokens + requests.output_tokens


def _paid_windows(
    requests: RequestBatch, window: npt.NDArray[np.int64], windows: int, settings: RealSettings
) -> int:
    """How many windows can be sent in full before a budget is spent."""
    counts = np.bincount(window, minlength=windows).cumsum()
    tokens = np.bincount(window, weights=_tokens(requests), minlength=windows).cumsum()
    is_paid = counts <= settings.real_max_requests_per_episode
    is_paid &= tokens <= settings.real_max_tokens_per_episode
    return windows if is_paid.all() else int(is_paid.argmin())
