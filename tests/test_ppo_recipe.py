import pytest
from pydantic import ValidationError

from agents.ppo.recipe import KvMenu, shipped_recipe
from tests.ppo_tasks import recipe


def test_the_shipped_recipe_plays_whole_traces():
    found = shipped_recipe()

    assert found.environments == found.traces * found.replicas
    assert found.windows == found.environments * found.windows_per_update


def test_a_number_can_be_replaced():
    assert recipe(gamma=0.9).gamma == 0.9


@pytest.mark.parametrize(
    "wrong", [{"gamma": 1.5}, {"epochs": 0}, {"unheard_of": 1}, {"blind_to": ["x"]}]
)
def test_numbers_out_of_range_and_unknown_ones_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        recipe(**wrong)


def test_the_first_kv_level_must_be_on_the_menu():
    with pytest.raises(ValidationError, match="not on the menu"):
        KvMenu(multipliers=(1.0,), offsets=(0.0,), slacks=(0.0,), start=(1.0, 0.5, 0.0))
