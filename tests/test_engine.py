import numpy as np
import pytest

from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine, action_row
from simulator.reward import weight_row
from simulator.state import PENDING
from tests.builders import ACTION, action, every, requests, task


def step(engine: SimulatedEngine, *settings) -> None:
    weights = np.tile(weight_row(engine.task.reward), (len(settings), 1))
    engine.step(np.stack([action_row(setting) for setting in settings]), weights)


def test_action_row_holds_the_knobs_in_order():
    row = action_row(
        action(
            batch_cap=7,
            kv_budget_fraction=0.3,
            speculation_depth=2,
            quantization_tier="INT4",
            prefill_decode_split=True,
            priority_routing=True,
        )
    )

    assert row.tolist() == [7.0, 0.3, 2.0, 2.0, 1.0, 1.0]


def test_reset_puts_the_default_action_into_force():
    spec = task(default_action=ACTION | {"batch_cap": 12, "quantization_tier": "INT8"})
    engine = SimulatedEngine(spec)

    engine.reset(0, requests([0.5]), StepCosts(linear=1.1))

    environment = engine.state.environments[0]
    assert environment["batch_cap"] == 12
    assert environment["tier"] == 1
    assert environment["linear_scale"] == 1.1
    assert environment["now_s"] == 0.0


def test_reset_empties_the_environment():
    engine = SimulatedEngine(task())
    engine.reset(0, requests(every(0.05, 50), output=500), StepCosts())
    step(engine, action())

    engine.reset(0, requests([5.0]), StepCosts())
    step(engine, action())

    assert engine.state.metrics[0]["running"] == 0
    assert engine.state.metrics[0]["ttft_samples"] == 0
    assert engine.state.metrics[0]["cost_total_usd"] == engine.state.metrics[0]["cost_usd"]
    assert engine.state.requests[0, 0]["status"] == PENDING


def test_environments_are_stepped_together_and_apart_in_what_they_do():
    engine = SimulatedEngine(task(), environments=2)
    engine.reset(0, requests(every(0.1, 10)), StepCosts())
    engine.reset(1, requests([]), StepCosts())

    step(engine, action(), action())

    assert engine.state.metrics["arrived"].tolist() == [10, 0]
    assert engine.state.environments["now_s"].tolist() == [1.0, 1.0]


def test_step_costs_slow_the_engine_down():
    engine = SimulatedEngine(task(), environments=2)
    engine.reset(0, requests([0.0], output=40), StepCosts())
    engine.reset(1, requests([0.0], output=40), StepCosts(linear=1.3, attention=1.3, host=1.3))

    step(engine, action(), action())

    finish_s = engine.state.requests["finish_s"][:, 0]
    assert finish_s[1] == pytest.approx(1.3 * finish_s[0], rel=1e-9)


def test_clone_is_stepped_without_the_original():
    engine = SimulatedEngine(task())
    engine.reset(0, requests(every(0.1, 30)), StepCosts())

    twin = engine.clone()
    step(twin, action())

    assert engine.state.environments[0]["windows"] == 0
    assert twin.state.environments[0]["windows"] == 1
    assert twin.task is engine.task


def test_an_episode_without_requests_costs_memory_and_serves_nothing():
    engine = SimulatedEngine(task())
    engine.reset(0, requests([]), StepCosts())

    step(engine, action())

    metrics = engine.state.metrics[0]
    assert metrics["output_tps"] == 0.0
    assert metrics["busy_fraction"] == 0.0
    assert metrics["cost_usd"] == pytest.approx(1.50 / 3600 * metrics["reserved_fraction"])
