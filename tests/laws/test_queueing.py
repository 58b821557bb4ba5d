"""Queueing laws: what theory says about a single server must come out of the event loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import action, every, play, requests, started, task, together


def poisson(rate_rps: float, horizon_s: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    count = rng.poisson(rate_rps * horizon_s)
    return np.sort(rng.uniform(0.0, horizon_s, count))


def in_system(simulator) -> int:
    metrics = simulator.metrics()
    return metrics.queue_depth + metrics.active_requests


def queue_depths(simulator, held, windows: int) -> list[int]:
    depths = []
    for _ in range(windows):
        simulator.advance(held)
        depths.append(simulator.metrics().queue_depth)
    return depths


def test_littles_law_holds_over_a_long_episode():
    """L = lambda * W, with L sampled at 5,000 window ends and W from the requests' own times.

    Tolerance 1 %: both sides describe the same path, so that only the sampling grid errs; with
    other seeds they differ by 0.2 % at most.
    """
    horizon_s = 1_000.0
    arrivals = poisson(4.0, horizon_s, seed=1)
    spec = task(windows=5_000, window_s=0.2)
    simulator = started(spec, requests(arrivals, prompt=200, output=80))
    held, samples = action(), []

    for _ in range(5_000):
        simulator.advance(held)
        samples.append(in_system(simulator))

    results = simulator.results()
    sojourn_s = np.nanmean(results.finish_s - results.arrival_s)
    expected = len(arrivals) / horizon_s * sojourn_s
    assert np.mean(samples) == pytest.approx(expected, rel=0.01)


def test_mean_wait_of_equal_requests_one_at_a_time_is_that_of_m_d_1():
    """Wq = rho * D / (2 * (1 - rho)) with D measured on a lone request (Pollaczek-Khinchine).

    Tolerance 6 %: at rho = 0.7 waits stay correlated over about D / (1 - rho)^2 = 1.2 s, so
    10,000 s hold some 4,000 independent waits, whose standard deviation is above their mean: a
    standard error of about 2 %.
    """
    spec, one_at_a_time = task(windows=200, window_s=50.0), action(batch_cap=1)
    lone = started(spec, requests([0.0], prompt=100, output=10))
    lone.advance(one_at_a_time)
    service_s = lone.results().finish_s[0]
    arrivals = poisson(0.7 / service_s, 10_000.0, seed=2)
    simulator = started(spec, requests(arrivals, prompt=100, output=10))

    play(simulator, one_at_a_time, 200)

    results = simulator.results()
    mean_wait_s = np.nanmean(results.admitted_s - results.arrival_s)
    assert mean_wait_s == pytest.approx(0.7 * service_s / (2.0 * 0.3), rel=0.06)


def test_equal_requests_one_at_a_time_take_equal_time():
    simulator = started(task(windows=5), requests(together(20), prompt=100, output=10))

    play(simulator, action(batch_cap=1), 5)

    finish_s = simulator.results().finish_s
    assert np.diff(finish_s) == pytest.approx(np.full(19, finish_s[0]), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), extra=st.integers(1, 30), rate_rps=st.floats(1.0, 15.0))
def test_one_at_a_time_more_requests_never_shorten_the_queue(seed, extra, rate_rps):
    """On every path: one server that never idles, first come first served, equal requests."""
    few = poisson(rate_rps, 10.0, seed)
    many = np.sort(np.concatenate([few, poisson(extra / 10.0, 10.0, seed + 1)]))
    spec, one_at_a_time = task(), action(batch_cap=1)
    light = started(spec, requests(few, output=10))
    heavy = started(spec, requests(many, output=10))

    for _ in range(15):
        light.advance(one_at_a_time)
        heavy.advance(one_at_a_time)

        assert in_system(heavy) >= in_system(light)


def test_in_batches_more_requests_lengthen_the_queue():
    """Coupled: the lighter loads are thinned from the heaviest; batch cap 16 serves some 24/s."""
    arrivals = poisson(40.0, 40.0, seed=3)
    spec, held = task(windows=40), action(batch_cap=16)
    quarter = started(spec, requests(arrivals[::4]))
    half = started(spec, requests(arrivals[::2]))
    full = started(spec, requests(arrivals))

    mean_quarter = np.mean(queue_depths(quarter, held, 40))
    mean_half = np.mean(queue_depths(half, held, 40))
    mean_full = np.mean(queue_depths(full, held, 40))

    assert mean_quarter <= mean_half < mean_full


def test_the_same_seed_with_batch_cap_1_and_512_gives_different_queues():
    spec = task(windows=20)
    one, many = started(spec, requests(every(0.1, 200))), started(spec, requests(every(0.1, 200)))

    queue_of_one = queue_depths(one, action(batch_cap=1), 20)
    queue_of_many = queue_depths(many, action(batch_cap=512), 20)

    assert queue_of_one[-1] > 100
    assert max(queue_of_many) <= 2


def test_who_arrives_does_not_depend_on_the_actions():
    spec = task(windows=20, gpus=2)
    calm, restless = (
        started(spec, requests(every(0.1, 200))),
        started(spec, requests(every(0.1, 200))),
    )

    calm_logs = play(calm, action(), 20)
    restless_logs = play(restless, action(batch_cap=1, prefill_decode_split=True), 10)
    restless_logs += play(restless, action(quantization_tier="INT4", speculation_depth=8), 10)

    assert [log.arrived.tolist() for log in calm_logs] == [
        log.arrived.tolist() for log in restless_logs
    ]


def test_a_busier_past_is_still_felt_after_the_actions_are_equal_again():
    """Closed loop: what was not served yet is the state that the next action meets."""
    spec = task(windows=10)
    kept_up, fell_behind = (
        started(spec, requests(every(0.1, 100))),
        started(spec, requests(every(0.1, 100))),
    )
    play(kept_up, action(), 5)
    play(fell_behind, action(batch_cap=1), 5)

    kept_up.advance(action(batch_cap=8))
    fell_behind.advance(action(batch_cap=8))

    assert kept_up.metrics().queue_depth == 0
    assert fell_behind.metrics().queue_depth > 10
