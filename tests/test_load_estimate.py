import numpy as np
import pytest

from agents.load_estimate import LoadEstimate
from simulator.deployment import build_deployment
from simulator.load import request_work_s
from tests.agent_views import seen
from tests.builders import requests, task


def settled(spec, **fields):
    """An estimate that has seen the same window for long."""
    estimate = LoadEstimate(spec)
    view = seen(**fields)
    for _ in range(400):
        estimate.update(view)
    return estimate


def test_the_output_length_is_learned_from_tokens_over_finished_requests():
    estimate = settled(task(), throughput_tps=600.0, finished_requests=4)

    assert estimate.mean_output_tokens == pytest.approx(150.0, rel=0.001)


def test_nothing_is_learned_before_the_first_window():
    estimate = LoadEstimate(task())

    estimate.update(seen(step_index=0, queue_depth=50))

    assert estimate.arriving("FP16") == 0.0
    assert estimate.queued_s("FP16") == 0.0
    assert estimate.mean_output_tokens == pytest.approx(200.0)


def test_the_load_is_the_work_that_the_simulator_counts():
    spec = task()
    estimate = settled(
        spec,
        request_arrival_rate=4.0,
        mean_prompt_length=1_000.0,
        throughput_tps=400.0,
        finished_requests=4,
    )
    work_s = request_work_s(requests(np.zeros(1), prompt=1_000, output=100), build_deployment(spec))

    assert estimate.arriving("FP16") == pytest.approx(4.0 * work_s[0], rel=0.05)


def test_two_gpus_halve_the_load():
    one, two = settled(task(), queue_depth=8), settled(task(gpus=2), queue_depth=8)

    assert two.arriving("FP16") == pytest.approx(0.5 * one.arriving("FP16"))
    assert two.queued_s("FP16") == pytest.approx(0.5 * one.queued_s("FP16"))


def test_a_quantised_tier_has_less_work():
    estimate = settled(task())

    assert estimate.arriving("INT8") < estimate.arriving("FP16")


def test_a_window_without_arrivals_brings_no_load():
    estimate = LoadEstimate(task())

    estimate.update(seen(request_arrival_rate=0.0, arrived_requests=0, mean_prompt_length=None))

    assert estimate.arriving("FP16") == 0.0


def test_prompts_beyond_the_models_length_are_costed_as_the_longest():
    estimate = LoadEstimate(task())

    assert estimate.request_s("FP16", 1e9) == estimate.request_s("FP16", 16_384.0)
