import pytest

from scripts.search_schedules import Attack, page


def attack(**fields):
    names = ("best constant", "planner", "schedule")
    return Attack(
        **{
            "task_id": "static_workload",
            "seed": 7,
            "evaluations": 100,
            "raw_scores": {"planner": 0.8},
            "score": 0.99,
            "planner_score": 0.97,
            "seed_score": 1.01,
            "terms": {name: dict.fromkeys(TERM_NAMES, 0.5) for name in names},
            "habits": {name: {"knobs moved": 3.0} for name in names},
        }
        | fields
    )


TERM_NAMES = (
    "throughput",
    "ttft",
    "slo",
    "memory",
    "cost",
    "stability",
    "violation",
    "preemption",
    "drop",
)


@pytest.mark.parametrize(
    ("score", "planner_score", "is_suspicious"),
    [(0.99, 0.5, False), (1.0005, 0.9, False), (1.2, 1.3, False), (1.2, 1.1, True)],
)
def test_only_what_beats_one_and_the_planner_by_more_than_the_clip_is_suspicious(
    score, planner_score, is_suspicious
):
    assert attack(score=score, planner_score=planner_score).is_suspicious is is_suspicious


def test_the_page_sets_the_schedule_beside_planner_and_constant():
    text = page([attack()], version="1.2.3")

    assert "| static_workload | 7 | 100 | 0.970 | 0.990 | 1.010 |  |" in text
    assert "| | best constant | planner | schedule |" in text
    assert "| knobs moved | 3.000 | 3.000 | 3.000 |" in text


def test_a_planner_that_does_not_beat_the_constant_has_no_scale_of_its_own():
    assert "| 0.990 | - |" in page([attack(seed_score=None)], version="1.2.3")
