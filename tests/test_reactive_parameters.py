import pytest

from agents.reactive_parameters import BOUNDS, NAMES, from_unit, to_unit, tuned_names
from tests.builders import task


def test_every_parameter_has_bounds():
    assert tuple(BOUNDS) == NAMES


def test_the_corners_of_the_cube_are_the_bounds():
    low, high = from_unit(NAMES, [0.0] * len(NAMES)), from_unit(NAMES, [1.0] * len(NAMES))

    assert (low.batch_cap, high.batch_cap) == pytest.approx((8.0, 512.0))
    assert (low.kv_base, high.kv_base) == (0.0, 2.0)


def test_a_point_outside_the_cube_is_taken_to_its_edge():
    assert from_unit(("kv_slack",), [7.0]).kv_slack == 0.4


def test_parameters_not_named_lie_in_the_middle():
    parameters = from_unit((), ())

    assert parameters.queue_weight == 1.0
    assert parameters.batch_cap == pytest.approx(64.0)


def test_to_unit_undoes_from_unit():
    point = [0.1, 0.7, 0.4]
    names = ("batch_cap", "rise", "kv_base")

    assert to_unit(names, from_unit(names, point)) == pytest.approx(point)


def test_only_parameters_of_knobs_that_move_are_tuned():
    names = tuned_names(task(active_actions=["batch_cap", "kv_budget_fraction"]))

    assert "batch_cap" in names
    assert "rise" in names
    assert "deep_batch" not in names
    assert "split_load" not in names
