"""vLLM's metrics: parsed, averaged, compared; and the watchdog over objectives."""

import asyncio
import math

import pytest

from server.real_slo_watchdog import SloWatchdog
from server.real_vllm_metrics import MetricsSample, MetricsWatch, parse_metrics, span_of
from tests.openai_server import openai_server
from tests.vllm_server import METRICS


def sample(at_s, **values):
    fields = {"running": 0.0, "waiting": 0.0, "kv_usage_fraction": 0.0, "preemptions": 0.0}
    return MetricsSample(at_s, **fields | values)


def test_a_reading_has_the_gauges_and_counters():
    reading = parse_metrics(METRICS, at_s=5.0)

    assert (reading.running, reading.waiting, reading.kv_usage_fraction) == (3.0, 2.0, 0.25)
    assert (reading.preemptions, reading.draft_tokens, reading.accepted_tokens) == (7, 200, 150)


def test_what_a_server_does_not_tell_is_not_a_number():
    assert math.isnan(parse_metrics(METRICS, at_s=5.0).generation_tokens)


def test_engines_of_one_server_are_added_up():
    second = 'vllm:num_requests_running{engine="1",model_name="tiny"} 4.0\n'
    marker = "# HELP vllm:num_requests_waiting N"

    reading = parse_metrics(METRICS.replace(marker, second + marker, 1), at_s=0.0)

    assert reading.running == 7.0


@pytest.mark.parametrize("text", ["", "# HELP other A gauge.\nother 1.0\n", "{]"])
def test_metrics_of_another_server_are_refused(text):
    with pytest.raises(ValueError, match="vllm:num_requests_running"):
        parse_metrics(text, at_s=0.0)


def test_a_span_averages_gauges_and_compares_counters():
    before = sample(0.0, preemptions=5.0, draft_tokens=100.0, accepted_tokens=50.0)
    within = [
        sample(0.5, running=2.0, waiting=4.0, kv_usage_fraction=0.2, preemptions=6.0),
        sample(1.0, running=4.0, preemptions=8.0, draft_tokens=140.0, accepted_tokens=80.0),
    ]

    span = span_of(before, within)

    assert (span.running, span.waiting, span.kv_usage_fraction) == (3.0, 2.0, 0.1)
    assert (span.running_last, span.waiting_last, span.waiting_share) == (4.0, 0.0, 0.5)
    assert (span.preemptions, span.draft_tokens, span.acceptance_fraction) == (3.0, 40.0, 0.75)
    assert span.duration_s == 1.0


def test_without_drafts_nothing_was_accepted_or_not():
    assert math.isnan(span_of(sample(0.0), [sample(1.0)]).acceptance_fraction)


def test_a_counter_that_fell_counts_from_the_new_start():
    span = span_of(sample(0.0, preemptions=50.0), [sample(1.0, preemptions=2.0)])

    assert span.preemptions == 2.0


def test_a_watch_tells_what_happened_between_two_looks_and_when_nobody_answers():
    async def watch(server):
        watch = MetricsWatch(server.url)
        first = await watch.take_span()
        server.metrics = METRICS.replace('name="tiny"} 7.0', 'name="tiny"} 9.0')
        second = await watch.take_span()
        server.metrics = "gone"
        third = await watch.take_span()
        await watch.close()
        return first, second, third

    with openai_server() as server:
        server.metrics = METRICS
        first, second, third = asyncio.run(watch(server))

    assert (first.preemptions, second.preemptions, third) == (0.0, 2.0, None)


def test_the_watchdog_trips_after_so_many_windows_in_a_row_and_lets_go_after_as_many():
    watchdog = SloWatchdog(windows=2, least_fraction=0.5)

    watchdog.note(met=1, missed=9)
    is_tripped_early = watchdog.is_tripped
    watchdog.note(met=4, missed=5)
    is_tripped = watchdog.is_tripped
    watchdog.note(met=0, missed=9)
    watchdog.note(met=0, missed=9)

    assert (is_tripped_early, is_tripped, watchdog.is_tripped) == (False, True, False)
    assert watchdog.report()["trips"] == 1


def test_a_good_window_starts_the_count_anew_and_an_empty_one_says_nothing():
    watchdog = SloWatchdog(windows=2, least_fraction=0.5)

    watchdog.note(met=0, missed=5)
    watchdog.note(met=5, missed=5)
    watchdog.note(met=0, missed=5)
    watchdog.note(met=0, missed=0)

    assert not watchdog.is_tripped
    assert watchdog.report()["collapsed_windows"] == 1


def test_a_watchdog_of_no_windows_never_trips():
    watchdog = SloWatchdog(windows=0, least_fraction=0.5)

    watchdog.note(met=0, missed=5)

    assert not watchdog.is_tripped
