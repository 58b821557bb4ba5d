import json

import pytest

from scripts.replay_on_both import PAGE, RANKING, REQUESTS_FILE, RESULTS, RUNS_FILE, plans
from scripts.replayed_runs import RequestRow, RunRow
from scripts.row_files import read_rows
from scripts.sim_to_real_report import compare, counted, neighbours, page
from tests.test_replayed_runs import run_row, sent


def shipped():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def test_both_targets_are_met_on_runs_that_nothing_was_fitted_to():
    assert {gate["figure"]: gate["limit"] for gate in shipped()["gates"]} == {
        "tpot_p50_ms": 0.10,
        "ttft_p50_ms": 0.20,
    }
    assert all(gate["is_met"] and gate["reached"] < gate["limit"] for gate in shipped()["gates"])


def test_the_page_is_what_the_results_say():
    ranking = json.loads(RANKING.read_text(encoding="utf-8"))

    assert PAGE.read_text(encoding="utf-8") == page(shipped(), ranking)


def test_the_page_can_do_without_a_ranking():
    assert "Do they rank alike" not in page(shipped(), None)


@pytest.mark.slow
def test_the_results_are_what_the_recorded_runs_give():
    results = compare(read_rows(RUNS_FILE, RunRow), read_rows(REQUESTS_FILE, RequestRow))

    errors = results["errors"]["neighbours"]
    assert errors["tpot_p50_ms"]["mean_absolute_error"] == pytest.approx(
        shipped()["errors"]["neighbours"]["tpot_p50_ms"]["mean_absolute_error"], rel=1e-6
    )
    assert results["overall_factor"] == pytest.approx(shipped()["overall_factor"], rel=1e-6)


def test_a_run_is_corrected_by_the_probes_right_before_and_after_it():
    factors = {1: 1.0, 3: 1.2, 5: 3.0}

    assert neighbours(factors, 2) == pytest.approx(1.1)
    assert neighbours(factors, 4) == pytest.approx(2.1)
    assert neighbours(factors, 6) == 3.0


def test_runs_of_a_starved_client_or_with_failures_do_not_count():
    runs = [run_row(run=1), run_row(run=2, starved_fraction=0.3), run_row(run=3, failures=1)]

    assert [each.run.run for each in counted(runs, [sent(0.0)])] == [1]


def test_a_record_without_probes_is_refused():
    with pytest.raises(ValueError, match="0 probes and 1 predicted runs count"):
        compare([run_row()], [sent(0.0)])


def test_probes_and_predicted_runs_take_turns_and_share_no_seed():
    runs = [*plans(1), *plans(2)]

    assert [run.role for run in plans(1)][:3] == ["probe", "held_out", "probe"]
    assert len({run.seed for run in runs}) == len(runs)
