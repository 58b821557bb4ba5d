"""What the numbers in an observation mean, on scenarios small enough to count by hand."""

import math

import numpy as np
import pytest

from simulator.metrics import snapshot
from simulator.outcome import METRICS
from tests.builders import action, every, held, play, requests, started, task, together

SLO = {"ttft_ms": (500.0, 500.0, 500.0), "itl_ms": (60.0, 60.0, 60.0)}


def test_an_empty_record_has_no_samples_and_no_division_by_zero():
    record = np.zeros(1, METRICS)[0]
    record["ttft_p50_s"] = record["acceptance_fraction"] = math.nan

    fields = snapshot(record)

    assert fields["p50_ttft_ms"] is None
    assert fields["spec_acceptance_rate"] is None
    assert fields["slo_compliance_rate"] is None
    assert fields["slo_violation_rate"] == (None, None, None)
    assert fields["estimated_cost_per_1k"] is None
    assert fields["priority_distribution"] is None
    assert fields["binding_constraint"] == "none"


def test_units_change_to_those_of_the_wire():
    record = np.zeros(1, METRICS)[0]
    record["ttft_p99_s"], record["oldest_wait_s"] = 0.25, 1.5
    record["memory_used_bytes"], record["memory_reserved_bytes"] = 20_000_000_000, 36_500_000_000

    fields = snapshot(record)

    assert fields["p99_ttft_ms"] == 250.0
    assert fields["oldest_wait_ms"] == 1500.0
    assert fields["gpu_memory_used_gb"] == 20.0
    assert fields["gpu_memory_reserved_gb"] == 36.5


def test_cost_per_thousand_tokens_is_that_of_the_last_windows():
    record = np.zeros(1, METRICS)[0]
    record["recent_cost_usd"], record["recent_tokens"] = 0.004, 8_000.0

    assert snapshot(record)["estimated_cost_per_1k"] == pytest.approx(0.0005)


def test_an_idle_window_has_no_latency():
    metrics = held(started(task(), requests([])), action(), 1)

    assert metrics.p50_ttft_ms is None
    assert metrics.p99_itl_ms is None
    assert metrics.ttft_sample_count == metrics.itl_sample_count == 0
    assert metrics.throughput_tps == 0.0
    assert metrics.mean_prompt_length is None
    assert metrics.oldest_wait_ms == 0.0


def test_ttft_counts_from_arrival_and_includes_the_api():
    simulator = started(task(), requests([0.1]))

    metrics = held(simulator, action(), 1)

    engine_s = simulator.results().first_token_s[0] - 0.1
    assert metrics.p50_ttft_ms == pytest.approx(1e3 * engine_s + 12.0)
    assert metrics.ttft_sample_count == 1


def test_itl_is_the_time_between_tokens_of_one_request():
    simulator = started(task(), requests([0.0], output=51))

    metrics = held(simulator, action(), 1)

    results = simulator.results()
    mean_ms = 1e3 * (results.finish_s[0] - results.first_token_s[0]) / 50
    assert metrics.p50_itl_ms == pytest.approx(mean_ms, rel=0.01)
    assert metrics.itl_sample_count == 50


def test_percentiles_forget_what_is_older_than_ten_windows():
    simulator = started(task(), requests([0.5]))

    ninth = held(simulator, action(), 10)
    tenth = held(simulator, action(), 1)

    assert ninth.ttft_sample_count == 1
    assert tenth.ttft_sample_count == 0
    assert tenth.p99_ttft_ms is None


def test_percentiles_are_order_statistics_of_the_requests():
    simulator = started(task(), requests(together(100), output=1))

    metrics = held(simulator, action(batch_cap=1), 10)

    results = simulator.results()
    ttft_ms = np.sort(1e3 * results.first_token_s + 12.0)
    assert metrics.p50_ttft_ms == pytest.approx(ttft_ms[49])
    assert metrics.p99_ttft_ms == pytest.approx(ttft_ms[98])


def test_more_first_tokens_than_are_kept_still_give_percentiles():
    simulator = started(task(), requests(every(0.0002, 5_000), prompt=1, output=1))

    metrics = held(simulator, action(batch_cap=512), 10)

    assert metrics.ttft_sample_count <= 4_096
    assert 0.0 < metrics.p50_ttft_ms <= metrics.p99_ttft_ms


def test_throughput_counts_all_tokens_and_goodput_those_in_time():
    slow = task(slo=SLO | {"ttft_ms": (1e-3, 500.0, 500.0)})
    simulator = started(slow, requests([0.0, 0.1], output=[20, 30], priority_class=[0, 1]))

    metrics = held(simulator, action(), 1)

    assert metrics.throughput_tps == 50.0
    assert metrics.goodput_tps == 30.0
    assert metrics.slo_compliance_rate == 0.5
    assert metrics.slo_violation_rate == (1.0, 0.0, None)
    assert metrics.slo_sample_count == 2


def test_an_itl_objective_that_is_missed_counts_as_a_violation():
    strict = task(slo=SLO | {"itl_ms": (60.0, 5.0, 60.0)})

    metrics = held(started(strict, requests([0.0])), action(), 1)

    assert metrics.slo_compliance_rate == 0.0


def test_a_rejected_request_missed_its_objective():
    spec = task(max_model_len_tokens=120)

    metrics = held(started(spec, requests([0.0, 0.1], output=[20, 21])), action(), 1)

    assert metrics.slo_compliance_rate == 0.5


def test_who_waits_past_the_objective_is_overdue():
    simulator = started(task(), requests([0.0, 0.1, 0.9], output=500))

    metrics = held(simulator, action(batch_cap=1), 1)

    assert metrics.queue_depth == 2
    assert metrics.overdue_requests == 1
    assert metrics.oldest_wait_ms == pytest.approx(900.0)


def test_arrivals_are_described():
    batch = requests([0.1, 0.2, 0.3, 0.4], prompt=[10, 20, 30, 40], priority_class=[0, 1, 1, 2])

    metrics = held(started(task(), batch), action(), 1)

    assert metrics.request_arrival_rate == 4.0
    assert metrics.mean_prompt_length == 25.0
    assert metrics.priority_distribution == (0.25, 0.5, 0.25)


def test_the_kv_cache_is_counted_in_blocks_of_the_whole_pool():
    """One request of 1,600 prompt tokens and 1 + n decoded ones, of 8,935 blocks of 16."""
    simulator = started(task(), requests([0.0], prompt=1_600, output=5_000))

    metrics = held(simulator, action(kv_budget_fraction=0.5), 1)

    assert metrics.kv_cache_occupancy == pytest.approx(105 / 8_935, abs=2 / 8_935)
    assert metrics.gpu_memory_used_gb == pytest.approx(17.26 + 105 * 0.002097, abs=0.005)


def test_cost_adds_up_over_the_episode():
    simulator = started(task(), requests([]))
    one = held(simulator, action(), 1).cost_so_far

    assert held(simulator, action(), 9).cost_so_far == pytest.approx(10.0 * one)


def test_rates_are_per_second_whatever_the_window():
    simulator = started(task(window_s=0.5), requests(every(0.1, 50), output=2))

    metrics = held(simulator, action(), 4)

    assert metrics.request_arrival_rate == 10.0
    assert metrics.throughput_tps == pytest.approx(20.0, abs=4.0)


def test_preemptions_are_counted_in_the_window_they_happen():
    simulator = started(task(), requests(together(40), prompt=1_000, output=500))
    play(simulator, action(), 3)

    cut = held(simulator, action(kv_budget_fraction=0.1), 1).eviction_events
    after = held(simulator, action(kv_budget_fraction=1.0), 1).eviction_events

    assert cut > 20
    assert after == 0
