import numpy as np
import pytest

from agents.statistics import (
    interquartile_mean,
    mean,
    paired_difference,
    paired_estimate,
    rank_correlation,
)


def test_the_interval_of_a_mean_lies_around_it():
    found = mean([1.0, 2.0, 3.0, 4.0, 5.0])

    assert found.value == 3.0
    assert 1.0 <= found.low < 3.0 < found.high <= 5.0


def test_the_interval_of_normal_values_is_about_two_standard_errors_wide_each_way():
    values = np.random.default_rng(0).normal(0.0, 1.0, 400)

    found = mean(values)

    assert found.high - found.value == pytest.approx(0.098, rel=0.15)
    assert found.value - found.low == pytest.approx(0.098, rel=0.15)


def test_the_same_values_give_the_same_interval():
    assert mean([0.25, 0.5, 0.125]) == mean([0.25, 0.5, 0.125])


def test_one_value_has_an_interval_of_no_width():
    found = mean([0.5])

    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_outliers_do_not_move_the_interquartile_mean():
    assert interquartile_mean([-1000.0, 1.0, 2.0, 1000.0]).value == pytest.approx(1.5)


def test_values_at_the_quartiles_count_in_part():
    # Of five values the middle half is three quarters of the second, the third, and of the fourth.
    found = interquartile_mean([0.0, 1.0, 2.0, 4.0, 100.0])

    assert found.value == pytest.approx((0.75 * 1.0 + 2.0 + 0.75 * 4.0) / 2.5)


def test_a_difference_that_never_varies_has_no_width():
    found = paired_difference([1.5, 2.5, 9.5], [1.0, 2.0, 9.0])

    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.standard_error == 0.0
    assert found.standard_errors is None


def test_the_standard_error_of_a_difference_is_that_of_its_pairs():
    found = paired_difference([1.0, 3.0, 5.0, 7.0], [0.0, 0.0, 0.0, 0.0])

    assert found.standard_error == pytest.approx(1.2909944)
    assert found.standard_errors == pytest.approx(3.0983867)


def test_a_single_pair_cannot_tell_a_standard_error():
    found = paired_difference([1.0], [0.5])

    assert found.value == 0.5
    assert found.standard_error is None
    assert found.standard_errors is None


def test_pairs_are_resampled_together():
    found = paired_estimate([1.0, 2.0, 30.0], [0.0, 1.0, 29.0], lambda ours, theirs: ours - theirs)

    assert found.low == pytest.approx(1.0)
    assert found.high == pytest.approx(1.0)


def test_a_rising_function_keeps_all_ranks():
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 8.0, 27.0]) == pytest.approx(1.0)


def test_a_falling_function_turns_all_ranks():
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)


def test_values_that_are_all_equal_have_no_ranks():
    with pytest.raises(ValueError, match="no ranks"):
        rank_correlation([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])


@pytest.mark.parametrize("values", [[], [float("nan"), 1.0], [float("inf")]])
def test_no_values_or_values_that_are_not_finite_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        mean(values)


def test_pairs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
