from llmserve_env.tasks import shipped_catalogue
from scripts.fidelity_json import Throughput, fidelity_card, limits_of
from scripts.validate_simulator import REPORT, THROUGHPUT_GATE, TPOT_GATE, Row
from scripts.validation_runs import ClosedLoopResult
from server.web.fidelity_card import shipped_card


def test_the_card_is_of_this_version_and_meets_its_gates():
    card = shipped_card()

    gated = [metric for metric in card.metrics if metric.gate is not None]
    assert card.environment_version == shipped_catalogue().environment_version
    assert [metric.gate for metric in gated] == [TPOT_GATE, THROUGHPUT_GATE]
    assert all(metric.mean_absolute_error < metric.gate for metric in gated)
    assert len(card.tpot_ms) == 42
    assert len(card.tokens_per_s) == 10


def test_the_card_says_what_the_report_in_the_documentation_says():
    report = REPORT.read_text(encoding="utf-8")

    first = shipped_card().metrics[0]
    assert f"| {first.mean_error:+.1%} | {first.mean_absolute_error:.1%} |" in report
    assert [limit.name for limit in shipped_card().limits] == [
        limit.name for limit in limits_of(report[report.index("## Known limits") :])
    ]


def test_a_card_is_made_of_runs():
    measured = ClosedLoopResult(ttft_s=0.1, tpot_s=0.010, requests_per_s=2.0)
    simulated = ClosedLoopResult(ttft_s=0.1, tpot_s=0.009, requests_per_s=2.0)
    runs = [Row(1_024, 128, 8, measured, simulated)]

    card = fidelity_card(
        runs, [Throughput(128, 128, 100.0, 110.0)], "- **A.** b\n  c.", gates=(0.04, 0.12)
    )

    assert card.metrics[0].mean_error == -0.1
    assert card.metrics[1].largest_error == 0.1
    assert card.tpot_ms[0].setting == "1024 in, 128 out, 8 clients"
    assert (card.limits[0].name, card.limits[0].text) == ("A.", " b c.")
