"""What the books say of calls with known times, measured by the simulator's own code."""

import numpy as np
import pytest

from llmserve_env.models import MetricsSnapshot
from server.real_books import MAX_GAPS, EpisodeBooks, joined_gaps
from server.real_calls import Call, WindowEvents
from server.real_failures import Failure
from server.real_measure import measure_entered_window
from server.real_queue import Hold
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine
from simulator.metrics import snapshot
from simulator.reward import reward_terms, weight_row
from tests.builders import action, requests, task

NOT_HELD = {Hold.CAP: 0.0, Hold.TOKENS: 0.0, Hold.QUIET: 0.0}


def calls(count, **fields):
    """So many calls that were due at 0 s; `fields` set what is common to them."""
    made = [Call(index, 1, 100, 50, 0.0) for index in range(count)]
    for call in made:
        for name, value in fields.items():
            setattr(call, name, value)
    return made


def measured(count, events, *, waiting=(), in_flight=(), held_s=NOT_HELD, end_s=1.0):
    """Metrics and reward terms of a first window of these events; 500 ms is the TTFT objective."""
    engine = SimulatedEngine(task())
    engine.reset(0, requests(np.zeros(count)), StepCosts())
    books = EpisodeBooks(engine.state)
    books.put_in_force(action(), action(batch_cap=1), pool_tokens=1000)
    events.arrived = count
    books.close_window(events, held_s, end_s=end_s)
    books.enter_line(tuple(waiting), tuple(in_flight))
    terms = engine.deployment.terms.copy()
    terms["api_s"] = 0.0
    measure_entered_window(
        engine.state,
        engine.deployment.fleet,
        terms,
        engine.deployment.tables,
        weight_row(engine.task.reward)[None, :],
        1.0,
    )
    metrics = MetricsSnapshot(**snapshot(engine.state.metrics[0]))
    return metrics, reward_terms(engine.state.rewards[0])


def test_times_to_first_token_are_those_of_the_calls():
    done = calls(3)
    for call, first_s in zip(done, (0.1, 0.2, 0.4), strict=True):
        call.first_token_s, call.finish_s = first_s, 0.9

    metrics, _ = measured(3, WindowEvents(first_tokens=done, decided=done))

    assert metrics.p50_ttft_ms == pytest.approx(200.0)
    assert metrics.p99_ttft_ms == pytest.approx(400.0)
    assert metrics.finished_requests == 3
    assert metrics.slo_compliance_rate == 1.0


def test_a_late_first_token_misses_the_objective():
    done = calls(2, finish_s=0.9)
    done[0].first_token_s, done[1].first_token_s = 0.1, 0.6

    metrics, terms = measured(2, WindowEvents(first_tokens=done, decided=done))

    assert metrics.slo_compliance_rate == 0.5
    assert terms["violation"] == 0.5


def test_slow_tokens_miss_the_objective():
    done = calls(1, first_token_s=0.1, finish_s=3.2)

    metrics, _ = measured(1, WindowEvents(first_tokens=done, decided=done), end_s=4.0)

    assert metrics.slo_compliance_rate == 0.0


def test_goodput_counts_the_tokens_that_the_server_counted():
    done = calls(2, first_token_s=0.1, finish_s=0.4, output_tokens=7)

    metrics, _ = measured(2, WindowEvents(first_tokens=done, decided=done, output_tokens=14))

    assert metrics.goodput_tps == 14.0
    assert metrics.throughput_tps == 14.0


def test_failures_are_dropped_and_what_is_too_long_is_rejected():
    failed = calls(3, finish_s=0.5, failure=Failure.SERVER_ERROR)
    failed[0].failure = Failure.CONTEXT_TOO_LONG

    metrics, terms = measured(3, WindowEvents(decided=failed))

    assert metrics.rejected_requests == 1
    assert metrics.dropped_requests == 2
    assert terms["drop"] == pytest.approx(2 / 3)
    assert terms["throughput"] == 0.0


def test_who_waits_here_and_who_waits_at_the_server_is_overdue_alike():
    here, there = calls(2)

    metrics, _ = measured(2, WindowEvents(), waiting=[here], in_flight=[there])

    assert metrics.queue_depth == 1
    assert metrics.active_requests == 1
    assert metrics.overdue_requests == 2
    assert metrics.oldest_wait_ms == pytest.approx(1000.0)


@pytest.mark.parametrize(("hold", "name"), [(Hold.CAP, "queue"), (Hold.TOKENS, "kv")])
def test_what_held_requests_back_for_longest_binds(hold, name):
    metrics, _ = measured(1, WindowEvents(), waiting=calls(1), held_s=NOT_HELD | {hold: 0.4})

    assert metrics.binding_constraint == name


def test_inter_token_latencies_are_weighted_by_tokens():
    gaps = [(0.010, 1), (0.020, 6), (0.030, 1)]

    metrics, _ = measured(1, WindowEvents(gaps=gaps), in_flight=calls(1, first_token_s=0.1))

    assert metrics.p50_itl_ms == pytest.approx(20.0)
    assert metrics.p99_itl_ms == pytest.approx(30.0)
    assert metrics.itl_sample_count == 8


def test_gaps_beyond_the_room_are_joined_without_losing_a_token():
    gaps = [(0.001 * i, 2) for i in range(1, 3001)]

    values_s, tokens = joined_gaps(gaps)

    assert len(values_s) <= MAX_GAPS
    assert tokens.sum() == 6000
    assert values_s[-1] == 3.0
    assert np.all(np.diff(values_s) > 0.0)


def test_no_gaps_are_no_samples():
    metrics, _ = measured(1, WindowEvents(), in_flight=calls(1))

    assert metrics.p50_itl_ms is None
    assert metrics.itl_sample_count == 0
