"""Actions as arrays, and back."""

import numpy as np
import pytest

from llmserve_env.action_encoding import (
    LEVEL_COUNTS,
    LEVELS,
    ActionDecoder,
    nearest_level,
    to_box,
    to_indices,
)
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeAction
from tests.builders import action, task

EVERY_LEVEL = [(knob, level) for knob, levels in LEVELS.items() for level in levels]


@pytest.fixture
def decoder():
    """Of a task that moves all six knobs."""
    return ActionDecoder(task(gpus=2))


@pytest.fixture
def narrow():
    """Of a task that moves two knobs and holds the others at builders.ACTION."""
    return ActionDecoder(task(active_actions=["batch_cap", "kv_budget_fraction"]))


def test_levels_end_where_the_contract_ends():
    properties = ServeAction.model_json_schema()["properties"]

    assert (LEVELS["batch_cap"][0], LEVELS["batch_cap"][-1]) == (1, 512)
    assert properties["batch_cap"]["maximum"] == 512
    assert (LEVELS["kv_budget_fraction"][0], LEVELS["kv_budget_fraction"][-1]) == (0.1, 1.0)
    assert properties["kv_budget_fraction"]["minimum"] == 0.1
    assert properties["speculation_depth"]["maximum"] == LEVELS["speculation_depth"][-1]
    assert LEVEL_COUNTS == (15, 10, 9, 3, 2, 2)


class TestIndices:
    @pytest.mark.parametrize(("knob", "level"), EVERY_LEVEL)
    def test_every_level_comes_back(self, decoder, knob, level):
        sent = action(**{knob: level})

        assert decoder.from_indices(to_indices(sent)) == sent

    def test_name_the_levels_in_the_order_of_the_knobs(self, decoder):
        assert decoder.from_indices([6, 9, 3, 2, 1, 0]) == ServeAction(
            batch_cap=32,
            kv_budget_fraction=1.0,
            speculation_depth=3,
            quantization_tier="INT4",
            prefill_decode_split=True,
            priority_routing=False,
        )

    @pytest.mark.parametrize(
        ("knob", "value", "level"),
        [("batch_cap", 11, 3), ("batch_cap", 12, 4), ("kv_budget_fraction", 0.26, 2)],
    )
    def test_a_value_between_levels_goes_to_the_nearest(self, knob, value, level):
        assert nearest_level(knob, value) == level

    def test_one_beyond_the_levels_is_refused_by_name(self, decoder):
        with pytest.raises(InvalidInputError, match="speculation_depth: index 9 is not in 0 to 8"):
            decoder.from_indices([0, 0, 9, 0, 0, 0])

    def test_a_negative_one_is_refused(self, decoder):
        with pytest.raises(InvalidInputError, match="batch_cap: index -1"):
            decoder.from_indices([-1, 0, 0, 0, 0, 0])

    @pytest.mark.parametrize("wrong", [[0, 0, 0], [0.0] * 6, [[0] * 6]])
    def test_anything_but_six_whole_numbers_is_refused(self, decoder, wrong):
        with pytest.raises(InvalidInputError, match="6 whole numbers"):
            decoder.from_indices(wrong)


class TestBox:
    @pytest.mark.parametrize(("knob", "level"), EVERY_LEVEL)
    def test_every_level_comes_back(self, decoder, knob, level):
        sent = action(**{knob: level})

        back = decoder.from_box(to_box(sent))

        assert back.kv_budget_fraction == pytest.approx(sent.kv_budget_fraction, abs=1e-6)
        assert back.model_copy(update={"kv_budget_fraction": sent.kv_budget_fraction}) == sent

    def test_the_corners_are_the_bounds_of_the_contract(self, decoder):
        lowest = decoder.from_box([-1.0] * 6)
        highest = decoder.from_box([1.0] * 6)

        assert lowest == ServeAction(
            batch_cap=1,
            kv_budget_fraction=0.1,
            speculation_depth=0,
            quantization_tier="FP16",
            prefill_decode_split=False,
            priority_routing=False,
        )
        assert highest == ServeAction(
            batch_cap=512,
            kv_budget_fraction=1.0,
            speculation_depth=8,
            quantization_tier="INT4",
            prefill_decode_split=True,
            priority_routing=True,
        )

    def test_the_middle_is_the_geometric_mean_of_the_batch_caps(self, decoder):
        middle = decoder.from_box(np.zeros(6, np.float32))

        assert middle.batch_cap == 23
        assert middle.kv_budget_fraction == pytest.approx(0.55)
        assert middle.speculation_depth == 4
        assert middle.quantization_tier == "INT8"

    @pytest.mark.parametrize("wrong", [1.001, -2.0, np.nan, np.inf])
    def test_a_number_outside_is_refused_not_clamped(self, decoder, wrong):
        with pytest.raises(InvalidInputError, match="kv_budget_fraction"):
            decoder.from_box([0.0, wrong, 0.0, 0.0, 0.0, 0.0])

    def test_anything_but_six_numbers_is_refused(self, decoder):
        with pytest.raises(InvalidInputError, match="6 numbers, got shape"):
            decoder.from_box([0.0, 0.0])


class TestFixedKnobs:
    def test_keep_the_tasks_value_whatever_the_indices_say(self, narrow):
        assert narrow.from_indices([0, 0, 8, 2, 1, 1]) == action(
            batch_cap=1, kv_budget_fraction=0.1
        )

    def test_keep_the_tasks_value_whatever_the_box_says(self, narrow):
        assert narrow.from_box([1.0] * 6) == action(batch_cap=512, kv_budget_fraction=1.0)

    def test_offer_one_level_in_the_mask(self, narrow):
        masks = np.split(narrow.masks(), np.cumsum(LEVEL_COUNTS)[:-1])

        assert masks[0].all()
        assert masks[1].all()
        assert masks[2].tolist() == [True] + [False] * 8
        assert masks[3].tolist() == [True, False, False]
        assert masks[4].tolist() == [True, False]
        assert masks[5].tolist() == [True, False]


class TestMasks:
    def test_allow_everything_where_all_knobs_act(self, decoder):
        assert decoder.masks().shape == (41,)
        assert decoder.masks().all()

    def test_leave_out_the_tiers_that_the_deployment_lacks(self):
        masks = ActionDecoder(task(gpus=2), tiers=("FP16", "INT8")).masks()

        assert masks[34:37].tolist() == [True, True, False]
        assert masks.sum() == 40
