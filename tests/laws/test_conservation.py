"""Nothing is lost and nothing appears: requests, tokens, KV blocks and time, whatever is done."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from llmserve_env.models import MetricsSnapshot
from simulator.state import (
    DECODE_REPLICA,
    DROPPED,
    FINISHED,
    HANDOFF,
    HOLD_NONE,
    IDLE,
    ITERATING,
    PENDING,
    QUEUED,
    REJECTED,
    RUNNING,
    TOKEN,
)
from tests import engine_view as view
from tests.builders import action, every, play, requests, started, task, together
from tests.strategies import Scenario, scenarios

law = settings(max_examples=80, deadline=None)


def count_by_status(simulator) -> list[int]:
    return np.bincount(simulator.results().status, minlength=7).tolist()


@law
@given(scenarios())
def test_every_arrival_is_finished_running_queued_rejected_or_dropped(scenario: Scenario):
    simulator = scenario.start()
    arrived = finished = rejected = dropped = 0

    for setting in scenario.actions:
        simulator.advance(setting)
        metrics = simulator.metrics()

        arrived += metrics.arrived_requests
        finished += metrics.finished_requests
        rejected += metrics.rejected_requests
        dropped += metrics.dropped_requests
        here = metrics.active_requests + metrics.queue_depth
        assert arrived == finished + here + rejected + dropped


@law
@given(scenarios())
def test_the_status_of_every_request_agrees_with_the_counters(scenario: Scenario):
    simulator = scenario.start()
    decided = 0

    for setting in scenario.actions:
        log = simulator.simulate(setting)
        metrics, status = simulator.metrics(), count_by_status(simulator)

        decided += len(log.decided)
        end_s = log.end_s
        assert status[PENDING] == np.count_nonzero(scenario.requests.arrival_s >= end_s)
        assert status[QUEUED] == metrics.queue_depth
        assert status[RUNNING] + status[HANDOFF] == metrics.active_requests
        assert status[FINISHED] + status[REJECTED] + status[DROPPED] == decided


@law
@given(scenarios())
def test_every_request_is_in_exactly_one_place(scenario: Scenario):
    simulator = scenario.start()
    replicas = range(scenario.task.deployment.gpus)

    for setting in scenario.actions:
        simulator.advance(setting)
        status = simulator.results().status

        waiting = [each for replica in replicas for each in view.waiting(simulator, replica)]
        running = [each for replica in replicas for each in view.decoding(simulator, replica)]
        running += [each for replica in replicas for each in view.prefilling(simulator, replica)]
        assert sorted(waiting) == np.flatnonzero(status == QUEUED).tolist()
        assert sorted(running) == np.flatnonzero(status == RUNNING).tolist()
        assert sorted(view.handed_off(simulator)) == np.flatnonzero(status == HANDOFF).tolist()


@law
@given(scenarios())
def test_overdue_is_who_waits_for_a_first_token_past_the_objective(scenario: Scenario):
    simulator = scenario.start()
    replicas = range(scenario.task.deployment.gpus)

    for setting in scenario.actions:
        log = simulator.simulate(setting)
        metrics, results = simulator.metrics(), simulator.results()

        waiting = [each for replica in replicas for each in view.waiting(simulator, replica)]
        unserved = [each for each in waiting if math.isnan(results.first_token_s[each])]
        late = [e for e in unserved if results.arrival_s[e] < view.deadline_s(simulator, e)]
        assert metrics.overdue_requests == len(late)
        oldest_s = min([log.end_s, *results.arrival_s[unserved]])
        assert metrics.oldest_wait_ms == pytest.approx(1e3 * (log.end_s - oldest_s))


@law
@given(scenarios())
def test_what_happens_to_a_request_happens_in_order(scenario: Scenario):
    simulator = scenario.start()

    for setting in scenario.actions:
        log = simulator.simulate(setting)
        results = simulator.results()
        times = np.column_stack(
            [results.arrival_s, results.admitted_s, results.first_token_s, results.finish_s]
        )

        known = np.where(np.isnan(times), -math.inf, times)
        latest = np.maximum.accumulate(known, axis=1)
        assert (known[~np.isnan(times)] == latest[~np.isnan(times)]).all()
        assert np.nanmax(times[:, 1:], initial=0.0) <= log.end_s
        done = times[results.status == FINISHED]
        assert not np.isnan(done).any()


@law
@given(scenarios())
def test_the_clock_never_goes_back(scenario: Scenario):
    simulator = scenario.start()
    window_s, end_s, last_first_s, last_decided_s = scenario.task.window_s, 0.0, 0.0, 0.0

    for number, setting in enumerate(scenario.actions):
        log = simulator.simulate(setting)
        results = simulator.results()

        first_s = [last_first_s, *results.first_token_s[log.first_tokens]]
        decided_s = [last_decided_s, *results.finish_s[log.decided]]
        assert log.start_s == end_s
        assert log.end_s == (number + 1) * window_s
        assert (np.diff(first_s) >= 0.0).all()
        assert (np.diff(decided_s) >= 0.0).all()
        end_s, last_first_s, last_decided_s = log.end_s, first_s[-1], decided_s[-1]


@law
@given(scenarios())
def test_output_tokens_add_up_exactly(scenario: Scenario):
    simulator = scenario.start()
    output = 0

    for setting in scenario.actions:
        output += round(simulator.simulate(setting).output_tokens * TOKEN)
        assert output == view.generated(simulator)

    results = simulator.results()
    finished = results.status == FINISHED
    asked = scenario.requests.output_tokens
    assert (results.generated_tokens[finished] == asked[finished]).all()
    assert (results.generated_tokens[~finished] < asked[~finished]).all()


@law
@given(scenarios())
def test_what_an_iteration_needs_never_exceeds_the_kv_budget_in_force(scenario: Scenario):
    simulator = scenario.start()

    for setting in scenario.actions:
        log = simulator.simulate(setting)
        state = simulator.engine.state
        budget = int(state.environments[0]["budget_blocks"])

        for replica in range(scenario.task.deployment.gpus):
            row = state.replicas[0, replica]
            if row["mode"] == ITERATING and row["began_s"] >= log.start_s:
                assert view.blocks_at_end_of_run(simulator, replica) <= budget


@law
@given(scenarios())
def test_all_kv_blocks_are_free_once_nobody_runs(scenario: Scenario):
    simulator = scenario.start()
    for setting in scenario.actions:
        simulator.advance(setting)
    for _ in range(400):
        simulator.advance(action(batch_cap=512))

    metrics, replicas = simulator.metrics(), simulator.engine.state.replicas[0]
    assert metrics.queue_depth + metrics.active_requests == 0
    assert metrics.kv_cache_occupancy == 0.0
    assert replicas["prefill_blocks"].tolist() == [0, 0]
    assert replicas["handoff_blocks"].tolist() == [0, 0]
    assert replicas["offset_sum"].tolist() == [0, 0]
    assert replicas["rate_sum"].tolist() == [0, 0]


@law
@given(scenarios())
def test_nobody_waits_while_a_replica_idles(scenario: Scenario):
    """A prefill replica may stand still while its KV waits for room on the decode replica."""
    simulator = scenario.start()

    for setting in scenario.actions:
        simulator.advance(setting)
        replicas = simulator.engine.state.replicas[0]

        for replica in range(scenario.task.deployment.gpus):
            row = replicas[replica]
            if row["mode"] == IDLE and row["waiting"] > 0:
                assert row["handoff_blocks"] > 0
                assert row["hold"] != HOLD_NONE
        if view.handed_off(simulator) and simulator.engine.state.environments[0]["split"]:
            moving = simulator.engine.state.environments[0]["handoff_moving"]
            assert moving >= 0 or replicas[1]["mode"] != IDLE


@law
@given(scenarios())
def test_who_waits_has_just_come_or_is_held_back(scenario: Scenario):
    simulator = scenario.start()

    for setting in scenario.actions:
        simulator.advance(setting)
        results = simulator.results()

        for replica in range(scenario.task.deployment.gpus):
            row = simulator.engine.state.replicas[0, replica]
            if row["mode"] != ITERATING or row["hold"] != HOLD_NONE:
                continue
            for index in view.waiting(simulator, replica):
                has_come_back = results.preemptions[index] > 0
                assert has_come_back or results.arrival_s[index] >= row["began_s"]


@law
@given(scenarios())
def test_metrics_and_reward_stay_within_their_bounds(scenario: Scenario):
    simulator = scenario.start()

    for setting in scenario.actions:
        log = simulator.simulate(setting)
        metrics = simulator.metrics()

        MetricsSnapshot.model_validate(metrics.model_dump())
        assert (metrics.p50_ttft_ms or 0.0) <= (metrics.p99_ttft_ms or 0.0)
        assert (metrics.p50_itl_ms or 0.0) <= (metrics.p99_itl_ms or 0.0)
        assert -1.0 <= simulator.engine.state.rewards[0]["reward"] <= 1.0
        gpu_s = scenario.task.deployment.gpus * scenario.task.window_s
        held_s = log.queue_hold_s + log.kv_hold_s + log.compute_hold_s
        assert 0.0 <= held_s <= log.busy_s + 1e-9
        assert log.busy_s <= gpu_s + 1e-9


def test_a_request_behind_one_that_outgrew_the_kv_cache_is_still_served():
    """26 blocks of 16 tokens: the first request outgrows them alone, the second fits."""
    tiny = task(memory_limit_gb=19.8)
    simulator = started(tiny, requests([0.0, 0.1], prompt=[380, 300], output=[100, 10]))

    simulator.advance(action(kv_budget_fraction=0.1))

    assert simulator.results().status.tolist() == [DROPPED, FINISHED]


def test_a_handoff_joins_the_decode_replica_only_if_its_next_token_fits():
    """Of 26 blocks one request holds 25; the other has one full block and opens another."""
    split = action(kv_budget_fraction=0.1, prefill_decode_split=True)
    tiny = task(gpus=2, memory_limit_gb=19.8, window_s=0.02, default_action=split)
    simulator = started(tiny, requests([0.0, 0.001], prompt=[386, 15], output=200))
    blocks = []

    for _ in range(20):
        simulator.advance(split)
        blocks.append(view.blocks_at_end_of_run(simulator, DECODE_REPLICA))

    assert max(blocks) == 26


def test_a_thousand_requests_at_once_are_all_served():
    simulator = started(task(), requests(together(1_000), prompt=20, output=5))

    for _ in range(10):
        simulator.advance(action(batch_cap=512))

    assert count_by_status(simulator)[FINISHED] == 1_000


def time_between_tokens_s(logs) -> float:
    return sum(float(log.itl_s @ log.itl_tokens) for log in logs)


def test_inter_token_latencies_add_up_to_the_time_from_first_to_last_token():
    simulator = started(task(), requests([0.0], output=150))

    logs = play(simulator, action(), 4)

    results = simulator.results()
    decode_s = results.finish_s[0] - results.first_token_s[0]
    assert time_between_tokens_s(logs) == pytest.approx(decode_s, rel=1e-12)


def test_inter_token_latencies_add_up_across_a_switch():
    simulator = started(task(), requests([0.0], output=150))

    logs = play(simulator, action(), 1) + play(simulator, action(quantization_tier="INT8"), 6)

    results = simulator.results()
    decode_s = results.finish_s[0] - results.first_token_s[0]
    assert time_between_tokens_s(logs) == pytest.approx(decode_s, rel=1e-12)


def test_every_token_but_a_requests_first_has_a_latency_preempted_or_not():
    simulator = started(task(), requests(every(0.02, 40), prompt=1_000, output=100))

    logs = play(simulator, action(), 1) + play(simulator, action(kv_budget_fraction=0.1), 10)

    assert sum(log.preemptions for log in logs) > 0
    assert sum(log.output_tokens for log in logs) == 4_000.0
    assert sum(log.itl_tokens.sum() for log in logs) == 3_960.0
