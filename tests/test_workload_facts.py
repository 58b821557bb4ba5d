import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from simulator.records import RequestBatch
from simulator.workload_facts import describe


def a_batch(arrival_s, *, prompt=100, output=10):
    count = len(arrival_s)
    return RequestBatch(
        arrival_s=np.array(arrival_s, dtype=np.float64),
        prompt_tokens=np.full(count, prompt),
        output_tokens=np.full(count, output),
        priority_class=np.ones(count, dtype=np.int64),
        stream=np.zeros(count, dtype=np.int64),
        acceptance_first=np.full(count, 0.6),
        acceptance_ratio=np.ones(count),
        load_level=1.0,
    )


def test_an_empty_batch_has_rates_of_zero_and_no_lengths():
    facts = describe(a_batch([]), horizon_s=200.0)

    assert (facts.mean_rps, facts.peak_1s_rps, facts.request_count) == (0.0, 0.0, 0)
    assert facts.dispersion_1s is None
    assert facts.mean_prompt_tokens is None


def test_a_short_episode_has_no_slow_dispersion():
    facts = describe(a_batch([0.1, 0.2, 1.5]), horizon_s=4.0)

    assert facts.dispersion_1s == pytest.approx(1.25 - 0.3333, abs=1e-3)
    assert facts.dispersion_10s is None
    assert facts.peak_10s_rps is None


def test_regular_arrivals_have_no_dispersion():
    facts = describe(a_batch([0.5, 1.5, 2.5, 3.5]), horizon_s=4.0)

    assert facts.dispersion_1s == 0.0


def test_peaks_count_the_busiest_stretch():
    facts = describe(a_batch([0.0, 5.1, 5.2, 5.3, 12.0]), horizon_s=20.0)

    assert facts.mean_rps == 0.25
    assert facts.peak_1s_rps == 3.0
    assert facts.peak_10s_rps == 0.4


def test_a_rest_shorter_than_a_stretch_is_left_out_of_the_counts():
    facts = describe(a_batch([10.1, 10.2, 10.3]), horizon_s=10.5)

    assert facts.peak_1s_rps == 0.0
    assert facts.request_count == 3


def test_lengths_are_summed_up():
    facts = describe(a_batch([0.0, 1.0], prompt=300, output=20), horizon_s=2.0)

    assert (facts.mean_prompt_tokens, facts.p50_prompt_tokens) == (300.0, 300.0)
    assert (facts.mean_output_tokens, facts.p99_output_tokens) == (20.0, 20.0)


def test_a_horizon_of_zero_is_refused():
    with pytest.raises(InvalidInputError, match=r"above 0 and finite, got 0\.0"):
        describe(a_batch([]), horizon_s=0.0)
