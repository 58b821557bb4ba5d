import pytest

from scripts.compared_runs import ComparedRun, mape, pool_tokens
from scripts.run_sets import MeasuredRow, run_sets
from scripts.validate_simulator import REPORT, THROUGHPUT_GATE, silicon_rows, throughput_rows
from scripts.validation_runs import ClosedLoopResult


def test_errors_are_relative_to_what_was_measured() -> None:
    measured = MeasuredRow(1_024, 101, 8, ttft_ms=1_000.0, tpot_ms=10.0)
    simulated = ClosedLoopResult(ttft_s=2.0, tpot_s=0.009, requests_per_s=4.0)

    run = ComparedRun(measured, simulated)

    assert run.tpot_error == pytest.approx(-0.1)
    assert run.ttft_error == pytest.approx(1.0)
    assert run.rate_error == pytest.approx(0.0)


def test_errors_of_either_sign_add_up() -> None:
    assert mape([-0.02, 0.04]) == pytest.approx(0.03)


def test_the_pool_is_what_weights_and_activations_leave_of_90_percent() -> None:
    assert pool_tokens("h100-llama3-8b", "FP16") == int((72e9 - 16.06e9 - 1.2e9) / 131_072)


def test_the_report_in_the_documentation_states_every_gate_as_met() -> None:
    lines = REPORT.read_text(encoding="utf-8").splitlines()

    gates = [line for line in lines if "mean absolute error | below" in line]

    assert len(gates) == 1 + sum(each.gate is not None for each in run_sets().values())
    assert all(line.split(" | ")[3].startswith("met") for line in gates)


def test_the_report_in_the_documentation_names_its_known_limits() -> None:
    report = REPORT.read_text(encoding="utf-8")

    assert "## Known limits" in report
    assert "Tensor parallel above 1 is not offered" in report


@pytest.mark.slow
def test_time_per_token_of_the_42_measured_runs_is_within_the_gate() -> None:
    compared = silicon_rows()

    assert len(compared.runs) == 42
    assert compared.is_met


@pytest.mark.slow
def test_published_throughput_is_within_the_gate() -> None:
    assert mape([row.error for row in throughput_rows()]) < THROUGHPUT_GATE
