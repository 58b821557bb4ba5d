import numpy as np

from agents.ppo.policy import Policy
from scripts.policy_levels import behaviour
from tests.ppo_tasks import one_knob, policy


def test_a_policy_that_ignores_its_input_has_one_level_and_gains_nothing():
    made = policy()
    blind = Policy(made.layers._replace(weight_2=np.zeros_like(made.layers.weight_2)), made.menu)

    found = behaviour(blind, one_knob(windows=6), episodes=2)

    assert found.shares == {"batch_cap": 1.0}
    assert found.gain.value == 0.0


def test_a_policy_that_looks_moves():
    made = policy()
    restless = Policy(made.layers._replace(weight_2=50 * made.layers.weight_2), made.menu)

    shares = behaviour(restless, one_knob(windows=40), episodes=4).shares

    assert set(shares) == {"batch_cap"}
    assert 0.0 < shares["batch_cap"] < 1.0
