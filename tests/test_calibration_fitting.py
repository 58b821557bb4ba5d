"""Fits recover the constants of a server that the simulator made up."""

import json

import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from server.calibration.results import fit_profile, keep_profile, read_sources, results_of
from simulator.hardware import card_of, load_profile
from simulator.profile_files import use_profiles_folder
from tests.calibrations import TRUTH, make_up, small_plan

BASE = "a100-llama3-8b"


@pytest.fixture(autouse=True)
def folder(tmp_path):
    use_profiles_folder(tmp_path / "profiles")
    yield tmp_path
    use_profiles_folder(None)


def fitted(folder, **made_up):
    make_up(folder / "run", small_plan(), **made_up)
    return fit_profile(read_sources([folder / "run"]), BASE, "mine")


def test_exact_measurements_give_back_the_constants(folder):
    file = fitted(folder)

    # Loads this short hardly tell attention: its factor stays near 1, and others give way.
    assert file.host.iteration_ms.value == pytest.approx(1e3 * TRUTH.host_s, rel=0.06)
    assert file.host.api_ms.value == pytest.approx(1e3 * TRUTH.api_s, rel=0.02)
    assert file.factors.linear["FP16"].value == pytest.approx(TRUTH.linear, rel=0.02)
    assert 0.95 * TRUTH.attention <= file.factors.attention.value <= 1.0


def test_the_constants_lie_in_the_intervals_of_noisy_measurements(folder):
    file = fitted(folder, noise=0.03, seed=5)

    known = (
        (file.host.iteration_ms, 1e3 * TRUTH.host_s),
        (file.host.api_ms, 1e3 * TRUTH.api_s),
        (file.factors.linear["FP16"], TRUTH.linear),
        (file.factors.head, TRUTH.head),
        (file.factors.attention, TRUTH.attention),
    )
    assert [low <= truth <= high for value, truth in known for low, high in [value.interval]] == [
        True
    ] * 5
    assert all(value.interval[0] <= value.value <= value.interval[1] for value, _ in known)


def test_a_straggler_moves_the_fit_little(folder):
    plan = small_plan()
    make_up(folder / "run", plan)
    path = folder / "run" / "journal.jsonl"
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"answered"' in line)
    line = json.loads(lines[at])
    line["output_s"] = [2.0 + second for second in line["output_s"]]
    lines[at] = json.dumps(line)
    path.write_text("\n".join(lines) + "\n")

    file = fit_profile(read_sources([folder / "run"]), BASE, "mine")

    assert file.factors.linear["FP16"].value == pytest.approx(TRUTH.linear, rel=0.03)


def test_the_fitted_profile_is_found_by_name_and_plays_as_it_was_fitted(folder):
    file = fitted(folder)
    keep_profile([folder / "run"], "mine", file)

    results = results_of(read_sources([folder / "run"]), "mine")

    assert load_profile("mine").serving.host_s == pytest.approx(TRUTH.host_s, rel=0.06)
    assert results.is_passed
    assert results.verdict.startswith("PASS: on 4 held-out visits")
    own = [abs(row.error("tpot_p50_ms")) for row in results.rows]
    base = [abs(row.error("tpot_p50_ms")) for row in results.base_rows]
    assert max(own) < 0.01
    assert np.mean(base) > 0.15


def test_the_card_of_a_fitted_profile_holds_held_out_errors_and_the_range(folder):
    keep_profile([folder / "run"], "mine", fitted(folder, noise=0.02))

    card = card_of("mine")

    assert [(metric.name, metric.gate, metric.n) for metric in card.metrics[:2]] == [
        ("TTFT p50", 0.20, 4),
        ("TPOT p50", 0.10, 4),
    ]
    assert all(metric.is_independent for metric in card.metrics)
    assert card.validated.tiers == ("FP16",)
    assert (card.validated.sequences.low, card.validated.sequences.high) == (1, 8)
    assert card.validated.prompt_tokens.high == 1024


def test_two_tiers_share_all_but_their_own_factors(folder):
    make_up(folder / "fp16", small_plan())
    slower = TRUTH.__class__(
        host_s=TRUTH.host_s, api_s=TRUTH.api_s, linear=1.5, head=1.4, attention=TRUTH.attention
    )
    make_up(folder / "int8", small_plan(tier="INT8"), slower)

    file = fit_profile(read_sources([folder / "fp16", folder / "int8"]), BASE, "mine")

    linear = {tier: factor.value for tier, factor in file.factors.linear.items()}
    assert linear["FP16"] == pytest.approx(1.3, rel=0.02)
    assert linear["INT8"] == pytest.approx(1.5, rel=0.02)
    assert linear["INT4"] == pytest.approx((linear["FP16"] + linear["INT8"]) / 2, rel=1e-3)
    assert "not measured" in file.factors.linear["INT4"].source


def test_too_few_loads_are_refused_with_the_reason(folder):
    make_up(folder / "run", small_plan(), visits=3)

    with pytest.raises(InvalidInputError, match=r"4 constants need more than 4; .*3 of 20 visits"):
        fit_profile(read_sources([folder / "run"]), BASE, "mine")
