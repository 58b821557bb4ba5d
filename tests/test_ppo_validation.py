import pytest

from agents.batch import mean_rewards
from agents.ppo.validation import Validation
from llmserve_env.splits import split_seeds
from tests.builders import task
from tests.ppo_tasks import MENU, one_knob, policy


def test_a_policy_is_compared_with_the_constant_on_the_same_validation_seeds():
    spec = task(windows=5)
    validation = Validation([spec], [spec.default_action], MENU, seeds=3)

    result = validation.play(policy())["made_up"]

    constant = mean_rewards(spec, split_seeds("validation", 3), [spec.default_action])
    assert result.constant == pytest.approx(constant.mean())
    assert result.mean - result.constant == pytest.approx(result.difference)
    assert result.low <= result.difference <= result.high


def test_a_policy_that_can_do_only_what_the_constant_does_differs_by_nothing():
    # With one level to choose from, whatever the weights say is the task's own batch cap.
    spec = one_knob("priority_routing", windows=4)
    validation = Validation([spec], [spec.default_action], MENU, seeds=2)

    result = validation.play(policy())["only_priority_routing"]

    # One stream of one class: priority routing changes nothing.
    assert result.difference == 0.0


def test_every_task_has_a_result_of_its_own():
    specs = [one_knob("batch_cap", windows=3), one_knob("speculation_depth", windows=3)]
    validation = Validation(specs, [spec.default_action for spec in specs], MENU, seeds=2)

    assert list(validation.play(policy())) == ["only_batch_cap", "only_speculation_depth"]
