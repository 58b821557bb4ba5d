import numpy as np
import pytest

from agents.rollout import play_episode
from llmserve_env.tasks import shipped_catalogue
from scripts.schedules import ScheduleAgent, ScheduleSpace, maximise, schedule_values

STATIC = shipped_catalogue().get("static_workload")
BASE = [STATIC.default_action] * 200
SPACE = ScheduleSpace(STATIC, BASE)


def test_a_vector_holds_the_active_knobs_of_every_segment():
    assert SPACE.size == 25 * 2


def test_every_vector_is_a_schedule_that_the_task_allows():
    vector = np.random.default_rng(0).uniform(-1.0, 1.0, SPACE.size)

    actions = SPACE.actions(vector)

    assert len(actions) == 200
    assert actions[0] == actions[7]
    assert actions[7] != actions[8]
    STATIC.check_action(actions[100])


def test_nothing_added_is_the_base():
    found = SPACE.actions(np.zeros(SPACE.size))

    assert found[0].batch_cap == STATIC.default_action.batch_cap
    assert found[199].kv_budget_fraction == pytest.approx(0.9, abs=1e-6)


def test_what_would_leave_the_box_stays_at_its_edge():
    found = SPACE.actions(np.ones(SPACE.size))

    assert found[0].batch_cap == 512
    assert found[0].kv_budget_fraction == 1.0


def test_the_value_of_a_vector_is_the_raw_score_of_its_schedule():
    vector = np.random.default_rng(1).uniform(-1.0, 1.0, SPACE.size)

    found = schedule_values(SPACE, 2_000_000)([vector, -vector])

    played = play_episode(ScheduleAgent(SPACE.actions(vector)), STATIC, 2_000_000)
    assert found[0] == pytest.approx(played.mean_reward, abs=1e-12)
    assert found.shape == (2,)


def test_the_search_climbs_a_hill():
    pytest.importorskip("cma", reason="needs the extra `search`")

    found = maximise(
        lambda vectors: -np.array([np.sum((vector - 0.5) ** 2) for vector in vectors]),
        np.zeros(4),
        step=0.3,
        evaluations=1_280,
        seed=0,
    )

    assert found.start_value == -1.0
    assert found.value == pytest.approx(0.0, abs=1e-3)
    assert found.vector == pytest.approx([0.5, 0.5, 0.5, 0.5], abs=0.03)


def test_a_search_without_evaluations_returns_its_start():
    pytest.importorskip("cma", reason="needs the extra `search`")

    found = maximise(
        lambda vectors: np.zeros(len(vectors)), np.ones(2), step=0.1, evaluations=0, seed=0
    )

    assert found.vector.tolist() == [1.0, 1.0]
