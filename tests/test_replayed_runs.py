import numpy as np
import pytest

from scripts.replayed_runs import (
    Outcome,
    RequestRow,
    RunRow,
    measured_outcome,
    simulated_outcome,
    slowdown,
    weighted_quantile,
)
from simulator.hardware import load_profile
from simulator.perf_model import load_tables


def run_row(**changes):
    fields = {
        "run": 1,
        "role": "held_out",
        "family": "poisson",
        "rate_rps": 2.0,
        "seed": 0,
        "batch_cap": 16,
        "kv_budget_fraction": 1.0,
        "itl_p50_ms": 25.0,
        "itl_p99_ms": 90.0,
        "client_lag_ms": 5.0,
        "starved_fraction": 0.0,
        "failures": 0,
    }
    return RunRow(**fields | changes)


def sent(due_s, prompt=100, output=20, ttft_ms=80.0, tpot_ms=25.0, finish_s=1.0):
    return RequestRow(1, due_s, prompt, output, ttft_ms, tpot_ms, finish_s)


def test_a_lone_request_takes_its_prefill_and_the_api_to_its_first_token():
    outcome = simulated_outcome(run_row(), [sent(0.1)], 1.0)

    tables = load_tables("cpu-tiny")
    prefill_s = tables.linear_time_s("FP16", 100) + tables.lm_head_time_s(1)
    prefill_s += tables.iteration_prefill_attention_s([(100, 0)])
    expected_ms = 1e3 * (prefill_s + load_profile("cpu-tiny").serving.api_s)
    assert outcome.ttft_ms == pytest.approx([expected_ms])


def test_a_factor_slows_the_steps_and_not_the_api():
    once, twice = (simulated_outcome(run_row(), [sent(0.1)], factor) for factor in (1.0, 2.0))
    api_ms = 1e3 * load_profile("cpu-tiny").serving.api_s

    assert twice.tpot_ms == pytest.approx(2.0 * once.tpot_ms)
    assert twice.ttft_ms - api_ms == pytest.approx(2.0 * (once.ttft_ms - api_ms))


def test_the_slowdown_of_a_simulated_run_is_found_again():
    requests = [sent(0.3 * i, output=10 + i) for i in range(12)]
    truth = simulated_outcome(run_row(), requests, 1.37)
    measured = [
        sent(r.due_s, output=r.output_tokens, tpot_ms=float(tpot))
        for r, tpot in zip(requests, truth.tpot_ms, strict=True)
    ]

    assert slowdown(run_row(), measured) == pytest.approx(1.37, rel=1e-3)


def test_a_slowdown_beyond_all_reason_is_refused():
    with pytest.raises(ValueError, match=r"run 1: no slowdown in \[0\.3, 4\.0\] gives 900\.0 ms"):
        slowdown(run_row(), [sent(0.0, tpot_ms=900.0)])


def test_a_small_batch_cap_makes_later_requests_wait():
    requests = [sent(0.0) for _ in range(8)]

    capped = simulated_outcome(run_row(batch_cap=1), requests, 1.0)
    open_ = simulated_outcome(run_row(batch_cap=64), requests, 1.0)

    assert capped.figures()["ttft_p99_ms"] > 3.0 * open_.figures()["ttft_p99_ms"]
    assert capped.figures()["tpot_p50_ms"] < open_.figures()["tpot_p50_ms"]


def test_measured_figures_are_those_of_the_rows():
    requests = [sent(0.0, ttft_ms=50.0, finish_s=1.0), sent(0.5, ttft_ms=150.0, finish_s=2.0)]

    figures = measured_outcome(run_row(), requests).figures()

    assert figures["ttft_p50_ms"] == 100.0
    assert figures["tpot_mean_ms"] == 25.0
    assert figures["itl_p99_ms"] == 90.0
    assert figures["output_tps"] == 20.0


def test_objectives_are_met_by_requests_that_meet_both():
    outcome = Outcome(np.array([50.0, 150.0, 50.0]), np.array([20.0, 20.0, np.nan]), 1.0, 1.0, 1.0)

    assert outcome.met_fraction(ttft_slo_ms=100.0, tpot_slo_ms=30.0) == pytest.approx(2 / 3)


def test_a_weighted_quantile_is_the_smallest_value_that_covers_the_share():
    values, weights = np.array([30.0, 10.0, 20.0]), np.array([1.0, 98.0, 1.0])

    assert weighted_quantile(values, weights, 0.5) == 10.0
    assert weighted_quantile(values, weights, 0.99) == 20.0
    assert weighted_quantile(values, weights, 1.0) == 30.0
