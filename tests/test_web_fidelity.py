from llmserve_env.tasks import shipped_catalogue
from scripts.compared_runs import ComparedRun, ComparedSet
from scripts.fidelity_cards import Found, Throughput, cards, limits_of
from scripts.run_sets import MeasuredRow, run_sets
from scripts.validate_simulator import REPORT
from scripts.validation_runs import ClosedLoopResult
from server.web.fidelity import card_html
from simulator.fidelity_card import Compared, shipped_card
from simulator.hardware import profile_names


def every_card():
    return [shipped_card(name) for name in profile_names()]


def test_every_profile_has_a_card_of_this_version():
    version = shipped_catalogue().environment_version

    assert [card.profile for card in every_card()] == list(profile_names())
    assert {card.environment_version for card in every_card()} == {version}


def test_every_gate_of_every_card_is_met():
    gated = [metric for card in every_card() for metric in card.metrics if metric.gate is not None]

    assert len(gated) == 7
    assert all(metric.mean_absolute_error < metric.gate for metric in gated)


def test_a_profile_without_whole_runs_says_so_and_tells_what_its_tables_err_by():
    card = shipped_card("a100-llama3-8b")

    assert card.validated is None
    assert card.line == "no end-to-end runs; operator times 3% to 11% off measured rows left out"


def test_a_profile_with_runs_tells_the_gated_figures_first():
    card = shipped_card("h100-llama3-8b")

    assert card.line.startswith("TPOT 3.5% off 42 TensorRT-LLM 1.0.0rc3 runs, bfloat16")
    assert (card.validated.sequences.low, card.validated.sequences.high) == (8, 128)
    assert card.validated.tiers == ("FP16",)


def test_the_report_in_the_documentation_has_the_line_of_every_card():
    report = REPORT.read_text(encoding="utf-8")

    assert all(f"| {card.profile} | {card.line} |" in report for card in every_card())
    limits = limits_of(report[report.index("## Known limits") :])
    assert every_card()[0].limits == limits


def test_a_card_is_made_of_runs():
    row = MeasuredRow(1_024, 128, 8, ttft_ms=100.0, tpot_ms=10.0)
    simulated = ClosedLoopResult(ttft_s=0.1, tpot_s=0.009, requests_per_s=2.0)
    name = "silicon_h100_trtllm"
    compared = ComparedSet(name, run_sets()[name], (ComparedRun(row, simulated),), left_out=0)
    found = Found(
        sets=[compared],
        maxima=[Throughput(128, 128, 100.0, 110.0)],
        single_request=[Compared(setting="a", measured=1.0, simulated=1.1)],
        eagle=[Compared(setting="b", measured=1.0, simulated=1.1)],
        limits="- **A.** b\n  c.",
        throughput_gate=0.12,
    )

    made = {card.profile: card for card in cards(found)}

    h100, fp8 = made["h100-llama3-8b"], made["h100-llama3-8b-fp8-kv"]
    assert h100.metrics[0].mean_error == -0.1
    assert h100.comparisons[0].runs[0].setting == "1024 in, 128 out, 8 clients"
    assert fp8.metrics[0].largest_error == 0.1
    assert (h100.limits[0].name, h100.limits[0].text) == ("A.", " b c.")


def test_the_page_shows_the_card_that_is_chosen():
    html = card_html("b200-llama3-70b")

    assert "NVFP4" in html or "nvfp4" in html
    assert "below 10%: met" in html
    assert card_html("a100-llama3-8b").count("<svg") == 0
