"""What a live server's metrics become for a policy."""

import pytest

from llmserve_env.tasks import shipped_catalogue
from server.autopilot.histograms import Histogram
from server.autopilot.observing import Objectives, Observer
from server.autopilot.readings import parse_reading
from tests.live_vllm import page

TASK = shipped_catalogue().get("bursty_workload")
INF = float("inf")
PROMISED = Objectives(500.0, 50.0)
IN_FORCE = TASK.default_action.model_copy(update={"batch_cap": 8, "kv_budget_fraction": 0.5})


def watched(*pages, objectives=PROMISED):
    """The sight of the last of these pages, one second apart."""
    observer, sight = Observer(TASK, objectives), None
    for second, fields in enumerate(pages):
        reading = parse_reading(page(**fields), at_s=float(second))
        look = observer.next if second else observer.first
        sight = look(reading, IN_FORCE)
    return sight


def test_a_quantile_lies_in_its_bucket_by_its_rank():
    found = Histogram((0.1, 0.5, INF), (2.0, 2.0, 0.0), 1.0)

    assert found.quantile(0.5) == pytest.approx(0.1)
    assert found.quantile(0.75) == pytest.approx(0.3)


def test_what_lies_beyond_the_last_bound_is_told_as_that_bound():
    assert Histogram((0.1, INF), (0.0, 3.0), 9.0).quantile(0.99) == pytest.approx(0.1)


def test_the_share_within_a_limit_fills_its_bucket_evenly():
    found = Histogram((0.1, 0.5, INF), (1.0, 2.0, 1.0), 3.0)

    assert found.share_within(0.3) == pytest.approx(0.5)


def test_without_samples_there_is_no_quantile_no_share_and_no_mean():
    empty = Histogram((0.1, INF), (0.0, 0.0), 0.0)

    assert (empty.quantile(0.5), empty.share_within(1.0), empty.mean) == (None, None, None)


def test_a_histogram_that_lost_samples_was_started_anew():
    before = Histogram((0.1, INF), (5.0, 1.0), 1.0)
    now = Histogram((0.1, INF), (2.0, 0.0), 0.1)

    assert now.since(before) == now


def test_arrivals_are_what_ended_and_what_is_held_more():
    seen = watched({"running": 2}, {"running": 5, "waiting": 3, "ended": 4}).seen

    assert (seen.arrived_requests, seen.finished_requests, seen.queue_depth) == (10, 4, 3)
    assert seen.request_arrival_rate == pytest.approx(10.0)


def test_requests_that_clients_gave_up_are_dropped_and_not_finished():
    seen = watched({}, {"ended": 3, "aborted": 2}).seen

    assert (seen.finished_requests, seen.dropped_requests) == (3, 2)


def test_who_waits_longer_than_the_objective_is_overdue():
    queue = [{}, {"waiting": 6}, {"waiting": 6}, {"waiting": 7}]

    seen = watched(*queue).seen

    assert seen.overdue_requests == 6
    assert seen.oldest_wait_ms == pytest.approx(3000.0)


def test_compliance_is_the_smaller_share_of_both_latencies():
    seen = watched({}, {"ttft": (3, 1, 0, 0), "itl": (1, 1, 0), "tokens": 100}).seen

    assert seen.slo_compliance_rate == pytest.approx(1.0)
    strict = watched({}, {"ttft": (3, 0, 1, 0), "itl": (1, 1, 2), "tokens": 100})
    assert strict.seen.slo_compliance_rate == pytest.approx(0.5)
    assert strict.seen.goodput_tps == pytest.approx(50.0)
    assert (strict.met, strict.missed) == (2, 2)


def test_the_policy_is_shown_latencies_in_its_own_objectives():
    sight = watched({}, {"ttft": (0, 4, 0, 0)}, objectives=Objectives(1000.0, 50.0))

    own = min(TASK.slo.ttft_ms)
    assert sight.shown.p50_ttft_ms == pytest.approx(sight.seen.p50_ttft_ms * own / 1000.0)


def test_percentiles_forget_what_is_older_than_ten_windows():
    slow = {"ttft": (0, 0, 5, 0)}
    later = {"ttft": (1, 0, 5, 0)}

    seen = watched({}, slow, *[slow] * 10, later).seen

    assert seen.ttft_sample_count == 1
    assert seen.p99_ttft_ms < 100.0


@pytest.mark.parametrize(
    ("fields", "binding"),
    [
        ({"running": 3}, "none"),
        ({"running": 8, "waiting": 2}, "queue"),
        ({"running": 3, "waiting": 2, "kv": 0.49}, "kv"),
        ({"running": 3, "waiting": 2, "kv": 0.2}, "compute"),
        ({"running": 3, "preemptions": 1}, "kv"),
    ],
)
def test_what_holds_requests_back_is_read_off_the_gauges(fields, binding):
    assert watched({}, fields).seen.binding_constraint == binding


def test_a_server_that_was_started_anew_counts_from_nothing():
    seen = watched({"ended": 100, "tokens": 5000}, {"ended": 2, "tokens": 30, "running": 1}).seen

    assert seen.finished_requests == 2


def test_a_page_of_another_server_is_refused():
    with pytest.raises(ValueError, match="num_requests_running"):
        parse_reading("# TYPE up gauge\nup 1\n", at_s=0.0)
