"""Benchmarks of the field played on the simulator: a closed loop of clients, and a burst of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from llmserve_env.models import QuantizationTier
from llmserve_env.tasks import TaskSpec
from simulator.calibration.closed_loop import closed_loop_task
from simulator.calibration.records import ServerLimits
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine, action_row
from simulator.hardware import load_profile
from simulator.records import FloatArray, IntArray, RequestBatch
from simulator.state import FINISHED, Records

# A window shorter than a client's pause, so that the request that follows a finished one always
# arrives in a later window: a closed loop is exact although traffic is fixed before each window.
WINDOWS_PER_PAUSE: Final = 1.2
BURST_WINDOW_S: Final = 1.0
# TensorRT-LLM's default max_num_tokens.
TOKEN_BUDGET: Final = 8_192
MAX_MODEL_LEN_TOKENS: Final = 32_768
SHIPPED_COSTS: Final = StepCosts()
ROUNDS: Final = 10
WARM_UP_ROUNDS: Final = 2
LEAST_REQUESTS: Final = 60


@dataclass(frozen=True, slots=True)
class Setting:
    """What is benchmarked: a profile, a tier, and equal requests.

    Attributes:
        acceptance: First draft token's acceptance and its ratio from one position to the next.
    """

    profile: str
    tier: QuantizationTier
    prompt_tokens: int
    output_tokens: int
    batch_cap: int = 512
    speculation_depth: int = 0
    acceptance: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ClosedLoopResult:
    """Means over the measured requests; ttft_s holds the API time, tpot_s is per later token."""

    ttft_s: float
    tpot_s: float
    requests_per_s: float


def closed_loop(
    setting: Setting,
    concurrency: int,
    *,
    costs: StepCosts = SHIPPED_COSTS,
    pause_s: float | None = None,
) -> ClosedLoopResult:
    """Plays so many clients, each of which sends its next request once the last is answered.

    All clients send their first request at once; their first two rounds are not measured, and they
    go on sending until the last measured request is answered.

    Args:
        setting: Deployment and request.
        concurrency: Number of clients.
        costs: Factors on the step times.
        pause_s: From the end of a request until the client's next one reaches the engine; the
            profile's API time unless given; above 0. Counted in the TTFT, as API time is.
    """
    wanted = max(ROUNDS * concurrency, LEAST_REQUESTS)
    total = wanted + concurrency
    if pause_s is None:
        pause_s = load_profile(setting.profile).serving.api_s
    engine = _engine(setting, total, pause_s / WINDOWS_PER_PAUSE, costs)
    environment, table = engine.state.environments[0], engine.state.requests[0, :total]
    table["arrival_s"][:concurrency] = pause_s
    sent, finish_s = concurrency, np.empty(0)
    while len(finish_s) < wanted:
        environment["requests"] = sent
        _step(engine, setting)
        ended_s = _finish_times_s(table)
        following = ended_s[len(finish_s) : wanted] + pause_s
        table["arrival_s"][sent : sent + len(following)] = following
        sent, finish_s = sent + len(following), ended_s
    return _summary(table, setting, pause_s, WARM_UP_ROUNDS * concurrency, wanted)


def burst_tokens_per_s(setting: Setting, requests: int) -> float:
    """Output tokens per second when all requests are sent at once and run to the end."""
    engine = _engine(setting, requests, BURST_WINDOW_S, SHIPPED_COSTS)
    table = engine.state.requests[0, :requests]
    table["arrival_s"] = 0.0
    engine.state.environments[0]["requests"] = requests
    while not (table["status"] == FINISHED).all():
        _step(engine, setting)
    return requests * setting.output_tokens / float(table["finish_s"].max())


def _engine(setting: Setting, requests: int, window_s: float, costs: StepCosts) -> SimulatedEngine:
    task = _task(setting, window_s)
    engine = SimulatedEngine(task)
    engine.reset(0, _equal_requests(setting, requests), costs)
    engine.state.environments[0]["requests"] = 0
    return engine


def _step(engine: SimulatedEngine, setting: Setting) -> None:
    weights = np.ones((1, 9))  # the reward is not read
    engine.step(action_row(engine.task.default_action)[None, :], weights)
    lost = engine.state.metrics[0]["rejected"] + engine.state.metrics[0]["dropped"]
    if lost:
        raise RuntimeError(f"{lost} requests of {setting} were rejected or dropped")


def _finish_times_s(table: Records) -> FloatArray:
    """When requests finished, in order of time."""
    finish_s = table["finish_s"]
    return np.sort(finish_s[np.isfinite(finish_s)])


def _summary(
    table: Records, setting: Setting, pause_s: float, first: int, last: int
) -> ClosedLoopResult:
    """Means over the requests from the `first` finished to the `last`."""
    order = np.argsort(table["finish_s"], kind="stable")
    measured = table[order][first:last]
    first_s, finish_s = measured["first_token_s"], measured["finish_s"]
    span_s = finish_s[-1] - table["finish_s"][order[first - 1]]
    return ClosedLoopResult(
        ttft_s=float(np.mean(first_s - measured["arrival_s"])) + pause_s,
        tpot_s=float(np.mean(finish_s - first_s)) / (setting.output_tokens - 1),
        requests_per_s=len(measured) / float(span_s),
    )


def _equal_requests(setting: Setting, count: int) -> RequestBatch:
    def whole(value: int) -> IntArray:
        return np.full(count, value, np.int64)

    first, ratio = setting.acceptance
    return RequestBatch(
        arrival_s=np.full(count, math.inf),
        prompt_tokens=whole(setting.prompt_tokens),
        output_tokens=whole(setting.output_tokens),
        priority_class=whole(1),
        stream=whole(0),
        acceptance_first=np.full(count, first),
        acceptance_ratio=np.full(count, ratio),
        load_level=1.0,
    )


def _task(setting: Setting, window_s: float) -> TaskSpec:
    limits = ServerLimits(
        max_num_seqs=setting.batch_cap,
        max_num_batched_tokens=TOKEN_BUDGET,
        max_model_len=MAX_MODEL_LEN_TOKENS,
    )
    task = closed_loop_task(setting.profile, setting.tier, limits)
    depth = {"speculation_depth": setting.speculation_depth}
    action = task.default_action.model_copy(update=depth)
    return task.model_copy(update={"window_s": window_s, "default_action": action})
