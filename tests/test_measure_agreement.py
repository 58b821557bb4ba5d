import pytest

from grader.references import shipped_references
from llmserve_env.tasks import shipped_catalogue
from scripts.measure_agreement import Agreement, measure_task, page, random_constants
from tests.headroom_results import results

STATIC = shipped_catalogue().get("static_workload")
ADVERSARIAL = shipped_catalogue().get("adversarial_multitenant")

FOUND = Agreement(
    task_id="static_workload",
    common_seeds=0.95,
    common_seeds_unclipped=1.0,
    clipped_fraction=0.25,
    one_seed_mean=0.9,
    one_seed_least=0.8,
    own_seeds=0.6,
    agents=0.99,
    graded_episodes=4,
    grader_error=0.0,
)


def test_random_constants_are_the_same_every_time_and_differ_among_themselves():
    drawn = random_constants(ADVERSARIAL, 20)

    assert drawn == random_constants(ADVERSARIAL, 20)
    assert len(set(map(str, drawn))) == 20


def test_random_constants_leave_fixed_knobs_alone():
    for action in random_constants(STATIC, 20):
        STATIC.check_action(action)


def test_return_and_grade_agree_up_to_the_clipping():
    reference = shipped_references().tasks["static_workload"]
    agents = results()["tasks"]["static_workload"]

    found = measure_task(
        STATIC, reference, agents, constants=12, seeds=[2_000_000, 2_000_001, 2_000_002]
    )

    assert found.common_seeds_unclipped == pytest.approx(1.0)
    assert found.common_seeds <= found.common_seeds_unclipped
    assert 0.0 <= found.clipped_fraction <= 1.0
    assert found.graded_episodes == 12
    assert found.grader_error < 1e-9
    assert found.agents > 0.9


def test_the_gate_is_on_common_seeds_and_on_agents():
    assert FOUND.is_met
    assert "| met |" in page([FOUND], version="1", constants=12, seeds=3)


def test_the_page_tells_the_figures():
    text = page([FOUND], version="1.2.3", constants=300, seeds=16)

    assert "1.2.3" in text
    assert "| static_workload | 0.950 | 0.990 | 1.000 | 0.25 | 0.900 / 0.800 | 0.600 |" in text
