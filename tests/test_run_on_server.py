from scripts.run_on_server import RunPlan, request_rows, run_row
from scripts.stream_load import Load, TimedRequest

LOAD = Load(
    (
        TimedRequest(0.5, 40, 3, chunk_s=[0.6, 0.62, 0.66]),
        TimedRequest(0.7, 40, 3, failure="server_error"),
    ),
    lag_s=0.0123,
    starved_fraction=0.0,
)
PLAN = RunPlan("held_out", "bursts", 2.0, 18.0, 7, 8, 0.5)


def test_a_run_keeps_its_plan_its_gaps_and_its_failures():
    row = run_row(PLAN, 3, LOAD)

    assert (row.run, row.family, row.batch_cap, row.kv_budget_fraction) == (3, "bursts", 8, 0.5)
    assert row.itl_p50_ms == 30.0
    assert row.client_lag_ms == 12.3
    assert row.failures == 1


def test_answered_requests_alone_are_kept():
    (row,) = request_rows(3, LOAD)

    assert (row.run, row.ttft_ms, row.tpot_ms, row.finish_s) == (3, 100.0, 30.0, 0.66)
