import pytest

from agents.knobs import KnobMenu, Setting, clip_cap, clip_kv
from tests.builders import action, task

WISH = Setting(128, 0.35, 4, "INT4", True, True)


def test_a_fixed_knob_keeps_the_tasks_value():
    menu = KnobMenu(task(active_actions=["batch_cap", "speculation_depth"]))

    assert menu.action(WISH) == action(batch_cap=128, speculation_depth=4)


def test_with_two_gpus_every_knob_may_move():
    menu = KnobMenu(task(gpus=2))

    assert menu.action(WISH) == action(**WISH._asdict())


def test_one_gpu_is_never_split():
    menu = KnobMenu(task())

    assert menu.action(WISH).prefill_decode_split is False
    assert menu.levels("prefill_decode_split") == (False,)


def test_equal_settings_give_the_same_object():
    menu = KnobMenu(task())

    assert menu.action(WISH) is menu.action(Setting(*WISH))


def test_only_tiers_that_the_deployment_offers_are_on_the_menu():
    menu = KnobMenu(task(profile="l40s-llama3-8b"))

    assert menu.levels("quantization_tier") == menu.tiers == ("FP16", "INT8")


def test_a_fixed_tier_is_the_only_one():
    menu = KnobMenu(task(active_actions=["batch_cap"]))

    assert menu.tiers == ("FP16",)
    assert menu.levels("quantization_tier") == ("FP16",)
    assert menu.levels("batch_cap")[-1] == 512


@pytest.mark.parametrize(("number", "cap"), [(-3.0, 1), (0.2, 1), (17.6, 18), (9_000.0, 512)])
def test_caps_are_whole_and_within_the_contract(number, cap):
    assert clip_cap(number) == cap


@pytest.mark.parametrize(("number", "kv"), [(-1.0, 0.1), (0.333, 0.33), (0.999, 1.0), (7.0, 1.0)])
def test_budgets_are_hundredths_and_within_the_contract(number, kv):
    assert clip_kv(number) == kv
