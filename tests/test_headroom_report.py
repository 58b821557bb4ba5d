import pytest

from scripts.headroom_report import all_gates, page, task_reference
from tests.headroom_results import LEVELS, results


def missed(found):
    return [(gate.task_id, gate.condition) for gate in found if not gate.is_met]


def test_levels_within_the_plan_meet_every_gate():
    assert missed(all_gates(results())) == []


def test_too_little_room_above_the_constant_misses_the_gates_of_two_tasks():
    found = missed(all_gates(results(clairvoyant=0.83, reactive=0.8)))

    assert [task_id for task_id, condition in found if "best_constant >=" in condition] == [
        "bursty_workload",
        "adversarial_multitenant",
    ]


def test_a_planner_no_better_than_the_reactive_controller_misses_its_gate():
    found = missed(all_gates(results(reactive=0.89)))

    assert found == [("adversarial_multitenant", "clairvoyant - reactive >= 0.025")]


def test_a_heuristic_above_the_constant_breaks_the_ranking():
    found = missed(all_gates(results(heuristic=0.8)))

    assert len(found) == 3
    assert all("heuristic" in condition for _, condition in found)


def test_raw_scores_out_of_range_are_missed_by_name():
    found = missed(all_gates(results(vllm_default=0.45)))

    assert {condition for _, condition in found} == {"raw score of vllm_default in 0.00 to 0.40"}


def test_results_are_paired_by_seed():
    found = results()["tasks"]["static_workload"]["clairvoyant"]

    assert found["to_best_constant"]["value"] == pytest.approx(0.15)
    assert found["to_best_constant"]["high"] - found["to_best_constant"]["low"] < 0.001
    assert found["raw_mean"]["high"] - found["raw_mean"]["low"] > 0.01
    assert found["return"]["value"] == pytest.approx(180.0)


def test_the_anchors_are_the_distances_of_the_means():
    reference = task_reference(results(), "bursty_workload")

    assert reference.gap_above == pytest.approx(0.15)
    assert reference.gap_below == pytest.approx(0.70)
    assert reference.gap_vllm_default == pytest.approx(0.45)
    assert reference.agents["reactive"].raw_mean == pytest.approx(0.85)


def test_a_planner_below_the_constant_makes_no_scale():
    with pytest.raises(ValueError, match="gap_above"):
        task_reference(results(clairvoyant=0.7), "static_workload")


def test_the_page_shows_every_agent_with_its_score():
    text = page(results(), dict.fromkeys(LEVELS, "Plays."), designs="designs.md")

    assert "| clairvoyant | 1.000 |" in text
    assert "| best_constant | 0.500 |" in text
    assert "| random | 0.000 |" in text
    assert "[designs.md](designs.md)" in text
    assert "**missed**" not in text


def test_the_page_is_written_even_if_there_is_no_scale():
    text = page(results(clairvoyant=0.7), {}, designs="designs.md")

    assert "| clairvoyant | - |" in text
    assert "**missed**" in text
