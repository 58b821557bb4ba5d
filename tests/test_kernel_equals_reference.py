"""The compiled engine and its plain-Python twin do the same, request by request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import draw_step_costs
from simulator.records import RequestBatch
from simulator.reference import ReferenceEngine
from simulator.rng import stream
from simulator.trace_simulator import TraceSimulator

TIME_TOLERANCE_S = 1e-7


@dataclass(frozen=True)
class Scenario:
    """Traffic and deployment that press on one part of the engine."""

    name: str
    gpus: int = 1
    rate_rps: float = 12.0
    prompts: tuple[int, int] = (16, 400)
    outputs: tuple[int, int] = (1, 200)
    memory_limit_gb: float = 40.0
    token_budget: int = 2048
    queue_timeout_s: float = 60.0
    max_model_len_tokens: int = 8192
    interconnect: str = "nvlink"
    hold_windows: int = 1
    batch_caps: tuple[int, ...] = (1, 4, 32, 128, 512)
    kv_budgets: tuple[float, ...] = (0.1, 0.4, 1.0)
    depths: tuple[int, ...] = (0, 0, 3, 8)
    tiers: tuple[str, ...] = ("FP16",)
    splits: tuple[bool, ...] = (False,)


SCENARIOS = (
    Scenario("light load", rate_rps=2.0),
    Scenario("all hot knobs at random", rate_rps=25.0),
    Scenario("kv shortage", memory_limit_gb=20.0, prompts=(200, 3000), outputs=(50, 900)),
    Scenario("kv shortage with drafts", memory_limit_gb=20.0, prompts=(200, 3000), depths=(5,)),
    Scenario("clients give up", rate_rps=60.0, queue_timeout_s=2.0, batch_caps=(4,)),
    Scenario("too long", prompts=(64, 6000), outputs=(1, 4000), max_model_len_tokens=7000),
    Scenario("chunked prefill", prompts=(1000, 6000), token_budget=1024, rate_rps=3.0),
    Scenario("tier switches", tiers=("FP16", "INT8", "INT4"), hold_windows=7),
    Scenario("two replicas", gpus=2, rate_rps=30.0),
    Scenario("split", gpus=2, splits=(True,), rate_rps=20.0, prompts=(100, 3000), hold_windows=3),
    Scenario("split over pcie", gpus=2, splits=(True,), interconnect="pcie", prompts=(900, 6000)),
    Scenario(
        "split, kv shortage",
        gpus=2,
        splits=(True,),
        memory_limit_gb=21.0,
        prompts=(200, 3000),
        outputs=(50, 900),
        hold_windows=4,
    ),
    Scenario(
        "everything switches",
        gpus=2,
        splits=(True, False),
        tiers=("FP16", "INT4"),
        hold_windows=6,
        prompts=(100, 3000),
    ),
)


def _task(scenario: Scenario, windows: int) -> TaskSpec:
    base = shipped_catalogue().get("static_workload")
    deployment = base.deployment.model_copy(
        update={
            "gpus": scenario.gpus,
            "memory_limit_gb": scenario.memory_limit_gb,
            "token_budget": scenario.token_budget,
            "queue_timeout_s": scenario.queue_timeout_s,
            "max_model_len_tokens": scenario.max_model_len_tokens,
            "interconnect": scenario.interconnect,
            "linear_spread": 0.12,
            "attention_spread": 0.12,
            "host_spread": 0.15,
        }
    )
    return base.model_copy(update={"deployment": deployment, "windows": windows})


def _requests(scenario: Scenario, horizon_s: float, seed: int) -> RequestBatch:
    rng = stream(seed, "test/requests")
    count = int(rng.poisson(scenario.rate_rps * horizon_s))
    return RequestBatch(
        arrival_s=np.sort(rng.uniform(0.0, horizon_s, count)),
        prompt_tokens=rng.integers(*scenario.prompts, count, endpoint=True),
        output_tokens=rng.integers(*scenario.outputs, count, endpoint=True),
        priority_class=rng.integers(0, 3, count),
        stream=np.zeros(count, np.int64),
        acceptance_first=rng.uniform(0.2, 0.95, count),
        acceptance_ratio=rng.uniform(0.9, 1.3, count),
        load_level=1.0,
    )


def _actions(scenario: Scenario, windows: int, seed: int) -> list[ServeAction]:
    rng = stream(seed, "test/actions")
    drawn = [
        ServeAction(
            batch_cap=int(rng.choice(scenario.batch_caps)),
            kv_budget_fraction=float(rng.choice(scenario.kv_budgets)),
            speculation_depth=int(rng.choice(scenario.depths)),
            quantization_tier=str(rng.choice(scenario.tiers)),
            prefill_decode_split=bool(rng.choice(scenario.splits)),
            priority_routing=bool(rng.integers(2)),
        )
        for _ in range(windows)
    ]
    return [drawn[i - i % scenario.hold_windows] for i in range(windows)]


def _seconds(value: float | None) -> float:
    return np.nan if value is None else value


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_compiled_engine_does_what_the_plain_one_does(scenario: Scenario, seed: int) -> None:
    windows = 30
    task = _task(scenario, windows)
    requests = _requests(scenario, windows * task.window_s, seed)
    simulator = TraceSimulator()
    simulator.load(task, requests, seed)
    twin = ReferenceEngine(task, requests, draw_step_costs(task.deployment, seed))

    for index, action in enumerate(_actions(scenario, windows, seed)):
        log = simulator.simulate(action)
        window = twin.play_window(action)

        assert log.output_tokens == window.output / 1024, index
        assert log.prefill_tokens == window.prefill_tokens, index
        assert log.preemptions == window.preemptions, index
        assert log.iterations == window.iterations, index
        assert log.drafts_proposed == window.proposed / 1024, index
        assert log.drafts_accepted == window.accepted / 1024, index
        weights = sorted(weight / 1024 for _, weight in window.gaps)
        assert sorted(log.itl_tokens.tolist()) == weights, index
        np.testing.assert_allclose(
            log.itl_s, sorted(gap_s for gap_s, _ in window.gaps), rtol=0.0, atol=TIME_TOLERANCE_S
        )
        results = simulator.results()
        assert results.status.tolist() == [request.status for request in twin.requests], index
        assert results.preemptions.tolist() == [r.preemptions for r in twin.requests], index
        for column in ("admitted_s", "first_token_s", "finish_s"):
            expected = [_seconds(getattr(request, column)) for request in twin.requests]
            np.testing.assert_allclose(
                getattr(results, column), expected, rtol=0.0, atol=TIME_TOLERANCE_S
            )
