"""From rewards to a raw score, and from there to the scale."""

import math

import numpy as np
import pytest

from grader.replay import Replay
from grader.scoring import clipped, score_unclipped, tally
from simulator.outcome import METRICS, REWARD
from tests.builders import task
from tests.grades import TASK, references

ANCHORS = references().tasks[TASK.task_id]


def rewards(**columns):
    count = max(len(values) for values in columns.values())
    records = np.zeros(count, REWARD)
    for name, values in columns.items():
        records[name] = values
    return Replay(np.zeros(count, METRICS), records)


@pytest.mark.parametrize(
    ("raw_score", "score"),
    [(0.7, 0.5), (0.8, 1.0), (0.75, 0.75), (0.3, 0.0), (0.5, 0.25), (0.9, 1.5), (-0.1, -0.5)],
)
def test_the_scale_is_linear_on_either_side_of_the_best_constant(raw_score, score):
    assert score_unclipped(raw_score, 0.7, ANCHORS) == pytest.approx(score)


def test_equal_raw_scores_are_exactly_one_half():
    assert score_unclipped(1.0 / 3.0, 1.0 / 3.0, ANCHORS) == 0.5


@pytest.mark.parametrize(
    ("score", "reported"), [(-3.0, 0.001), (0.0, 0.001), (0.4, 0.4), (1.0, 0.999), (7.0, 0.999)]
)
def test_a_reported_score_never_touches_the_ends(score, reported):
    assert clipped(score) == reported


def test_a_raw_score_is_the_mean_reward_of_the_horizon():
    played = rewards(reward=[0.5, 0.25, -0.25])

    assert tally(task(windows=3), played).raw_score == pytest.approx(1.0 / 6.0)


def test_windows_that_were_not_played_cost_every_penalty():
    spec = task(windows=4, reward={"throughput": 2.0, "violation": 0.3, "drop": 0.1})
    played = rewards(reward=[1.0, 0.6], throughput=[1.0, 0.6], slo=[1.0, 1.0])

    result = tally(spec, played)

    assert result.raw_score == pytest.approx((1.6 - 2 * 0.4) / 4)
    assert result.means["throughput"] == pytest.approx(0.4)
    assert result.means["violation"] == 0.5
    assert result.contributions["throughput"] == pytest.approx(0.4)
    assert result.contributions["drop"] == pytest.approx(-0.05)
    assert result.contributions["slo"] == 0.0


def test_a_term_without_weight_contributes_a_plain_zero():
    spec = task(windows=1, reward={"throughput": 1.0, "violation": 0.3})
    result = tally(spec, rewards(reward=[1.0], throughput=[1.0]))

    assert math.copysign(1.0, result.contributions["violation"]) == 1.0


def test_the_order_of_windows_does_not_matter_to_the_last_bit():
    values = [0.1, 0.7, -0.3, 1e-17, 0.2, 0.3]
    spec = task(windows=6)

    one = tally(spec, rewards(reward=values))
    other = tally(spec, rewards(reward=values[::-1]))

    assert one.raw_score == other.raw_score
