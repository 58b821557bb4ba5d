"""Actions of many environments at once, against the decoder of one action."""

import numpy as np
import pytest

from llmserve_env.action_encoding import LEVEL_COUNTS, ActionDecoder
from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from simulator.deployment import build_deployment
from simulator.engine import action_row
from simulator.vector_actions import VectorDecoder
from tests.builders import ACTION, task

ALL_KNOBS = task(gpus=2)
TWO_KNOBS = task(active_actions=["batch_cap", "kv_budget_fraction"])


def decoder(made):
    return VectorDecoder(made, build_deployment(made))


@pytest.mark.parametrize("made", [ALL_KNOBS, TWO_KNOBS])
def test_indices_mean_what_they_mean_to_one_environment(made):
    indices = np.random.default_rng(1).integers(0, LEVEL_COUNTS, (500, 6))
    one = ActionDecoder(made)

    rows = decoder(made).from_indices(indices, 500)

    assert np.array_equal(rows, [action_row(one.from_indices(row)) for row in indices])


@pytest.mark.parametrize("made", [ALL_KNOBS, TWO_KNOBS])
def test_box_values_mean_what_they_mean_to_one_environment(made):
    rng = np.random.default_rng(2)
    values = rng.uniform(-1.0, 1.0, (2000, 6)).astype(np.float32)
    values[:3] = [[-1.0] * 6, [0.0] * 6, [1.0] * 6]
    one = ActionDecoder(made)

    rows = decoder(made).from_box(values, 2000)

    assert np.array_equal(rows, [action_row(one.from_box(row)) for row in values])


def test_rows_lie_in_memory_as_the_engine_was_compiled_for():
    rows = decoder(ALL_KNOBS).from_indices(np.zeros((3, 6), np.int32), 3)

    assert rows.dtype == np.float64
    assert rows.flags.c_contiguous


def test_an_index_beyond_the_levels_is_refused_naming_environment_and_range():
    indices = np.zeros((2, 6), np.int64)
    indices[1, 2] = 9

    with pytest.raises(InvalidInputError, match="1, speculation_depth: index 9 is not in 0 to 8"):
        decoder(ALL_KNOBS).from_indices(indices, 2)


@pytest.mark.parametrize("value", [1.01, np.nan])
def test_a_number_outside_the_box_is_refused(value):
    values = np.zeros((2, 6))
    values[1, 0] = value

    with pytest.raises(InvalidInputError, match=r"environment 1, batch_cap: .* is not in -1 to 1"):
        decoder(ALL_KNOBS).from_box(values, 2)


@pytest.mark.parametrize("wrong", [np.zeros(6, np.int64), np.zeros((3, 6), np.int64)])
def test_another_shape_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=r"actions are \(2, 6\) whole numbers, got shape"):
        decoder(ALL_KNOBS).from_indices(wrong, 2)


def test_fractions_are_no_indices():
    with pytest.raises(InvalidInputError, match=r"whole numbers, got shape .* of float64"):
        decoder(ALL_KNOBS).from_indices(np.zeros((2, 6)), 2)


def test_a_tier_that_the_deployment_lacks_is_refused():
    made = task(memory_limit_gb=16.0, default_action=ACTION | {"quantization_tier": "INT4"})
    indices = np.array([[8, 9, 0, 2, 0, 0], [8, 9, 0, 0, 0, 0]])

    with pytest.raises(TierNotOfferedError, match="does not offer quantization_tier 'FP16'"):
        decoder(made).from_indices(indices, 2)
