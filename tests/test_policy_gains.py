import numpy as np
import pytest

from llmserve_env.models import KNOBS
from scripts.policy_gains import ablation, by_kind, exchange, knob_use, moving_knobs, term_gains
from scripts.policy_plays import Course, Play
from scripts.true_regimes import Cut
from simulator.engine import action_row
from tests.builders import action, task
from tests.ppo_tasks import one_knob, policy

CONSTANT = action_row(action())
# Of the made-up task: throughput 1.0, cost 0.3; violation 0.3, preemption 0.1, drop 0.3.
REWARD = task().reward


def made_up(*, throughput=0.0, violation=0.0, rewards=(0.0, 0.0, 0.0, 0.0), rows=None):
    """Four windows of one seed with these terms throughout."""
    terms = np.zeros((4, 1, 9))
    terms[:, :, 0], terms[:, :, 6] = throughput, violation
    rows = np.tile(CONSTANT, (4, 1, 1)) if rows is None else rows
    return Play(rows, np.array(rewards)[:, None], terms)


def test_the_knobs_that_move_are_in_the_order_of_the_contract():
    spec = task(active_actions=["quantization_tier", "batch_cap"])

    assert moving_knobs(spec) == ("batch_cap", "quantization_tier")


def test_freezing_the_only_knob_takes_the_whole_gain():
    course = Course(one_knob("kv_budget_fraction", windows=8), [1, 2])

    found = ablation(course, policy(), CONSTANT)

    knob = found["knobs"]["kv_budget_fraction"]
    assert found["gain"]["value"] != 0.0
    assert knob["alone"] == found["gain"]
    assert knob["frozen"]["value"] == -found["gain"]["value"]


def test_every_knob_is_frozen_and_left_alone():
    course = Course(task(windows=4, active_actions=["batch_cap", "speculation_depth"]), [1, 2])

    found = ablation(course, policy(), CONSTANT)

    assert list(found["knobs"]) == ["batch_cap", "speculation_depth"]
    assert set(found["knobs"]["batch_cap"]) == {"frozen", "alone"}


def test_the_only_knob_of_a_plan_makes_up_the_whole_difference():
    course = Course(one_knob("kv_budget_fraction", windows=8), [1, 2])
    plan = course.held(CONSTANT)

    found = exchange(course, policy(), plan)["kv_budget_fraction"]

    assert found["borrowed"] == [-value for value in found["lent"]]
    assert len(found["lent"]) == 2


def test_the_additions_of_all_kinds_make_up_the_gap():
    cut = Cut("half", ("first", "second", "never"), np.array([[0], [0], [0], [1]]))
    plays = {
        "p": made_up(throughput=0.5, violation=0.5, rewards=(0.1, 0.2, 0.3, 0.4)),
        "clairvoyant": made_up(throughput=0.63, violation=0.1),
    }

    found = by_kind(cut, plays, REWARD, ["p"])

    assert found["names"] == ["first", "second"]
    assert found["shares"] == [0.75, 0.25]
    assert found["rewards"]["p"] == pytest.approx([0.2, 0.4])
    first, second = found["adds"]["p"]
    assert set(first) == {"throughput", "cost", "violation", "preemption", "drop"}
    assert first["throughput"] == pytest.approx(0.075)
    assert second["throughput"] == pytest.approx(0.025)
    assert first["violation"] == pytest.approx(0.09)
    assert first["cost"] == 0.0


def test_gains_by_term_add_up_to_the_difference_of_the_scores():
    course = Course(task(windows=8), [1, 2])
    low = course.play(course.held(action_row(action(kv_budget_fraction=0.1, batch_cap=2))))
    high = course.play(course.held(CONSTANT))

    gains = term_gains(high, low, course.task.reward)

    assert sum(gains.values()) == pytest.approx(high.scores.mean() - low.scores.mean())
    assert high.scores.mean() != low.scores.mean()


def test_the_use_of_a_knob_is_its_mean_and_of_the_tier_its_shares():
    rows = np.array([CONSTANT, action_row(action(batch_cap=32, quantization_tier="INT8"))])

    use = knob_use(rows)

    assert set(use) == set(KNOBS)
    assert use["batch_cap"] == 48.0
    assert use["quantization_tier"] == {"FP16": 0.5, "INT8": 0.5, "INT4": 0.0}
