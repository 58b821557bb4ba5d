import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from agents.stratified import (
    AGGREGATES,
    aggregate,
    interquartile_means,
    means,
    medians,
    optimality_gaps,
    probability_of_improvement,
    profile,
    share_of_wins,
)

RNG = np.random.default_rng(7)
SCORES = RNG.normal([[0.3], [0.6], [0.8]], 0.1, size=(3, 8))
OTHERS = RNG.normal([[0.2], [0.6], [0.7]], 0.1, size=(3, 8))


def test_the_interquartile_mean_is_the_trimmed_mean_over_all_tasks():
    found = aggregate(SCORES, interquartile_means)

    assert found.value == pytest.approx(trim_mean(SCORES.ravel(), 0.25))
    assert found.low < found.value < found.high


def test_the_median_is_that_of_the_tasks_means():
    assert medians(SCORES[None])[0] == pytest.approx(SCORES[1].mean())


def test_the_optimality_gap_does_not_count_what_is_above_one():
    assert optimality_gaps(np.array([[[0.5, 1.5]]]))[0] == pytest.approx(0.25)


def test_episodes_are_drawn_anew_within_their_task_alone():
    far_apart = np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])

    found = aggregate(far_apart, means)

    assert (found.value, found.low, found.high) == (4.5, 4.5, 4.5)


def test_the_probability_of_improvement_is_the_mean_u_statistic():
    found = probability_of_improvement(SCORES, OTHERS)

    statistics = [mannwhitneyu(*pair).statistic / 64 for pair in zip(SCORES, OTHERS, strict=True)]
    assert found.value == pytest.approx(np.mean(statistics))
    assert found.low <= found.value <= found.high


def test_ties_are_half_an_improvement_and_half_a_win():
    assert probability_of_improvement(SCORES, SCORES).value == pytest.approx(0.5)
    assert share_of_wins(SCORES, SCORES).value == 0.5


def test_wins_are_counted_on_the_same_traffic():
    assert share_of_wins(SCORES + 1e-6, SCORES).value == 1.0
    assert share_of_wins(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).value == 0.5


def test_a_profile_says_which_share_is_above():
    found = profile(np.array([[0.1, 0.3], [0.5, 0.7]]), np.array([0.0, 0.3, 0.6, 0.9]))

    assert found.share == (1.0, 0.5, 0.25, 0.0)
    assert all(
        low <= at <= high for low, at, high in zip(found.low, found.share, found.high, strict=True)
    )


@settings(deadline=None)
@given(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4), st.floats(0.001, 0.5))
def test_every_aggregate_follows_scores_that_all_rise(values, rise):
    rows = np.array(values).reshape(1, 2, 2)

    for name, statistic in AGGREGATES.items():
        change = float(statistic(rows + rise)[0] - statistic(rows)[0])
        assert change <= 1e-12 if name == "optimality_gap" else change >= rise - 1e-9


@pytest.mark.parametrize("scores", [np.zeros((0, 3)), np.zeros(3), np.array([[np.nan, 1.0]])])
def test_what_is_no_matrix_of_scores_is_refused(scores):
    with pytest.raises(ValueError, match="need finite scores"):
        aggregate(scores, means)
