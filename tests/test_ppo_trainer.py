import numpy as np
import pytest

from tests.builders import task
from tests.ppo_tasks import one_knob, recipe

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # networks this small gain nothing by more

from agents.ppo.trainer import Trainer  # noqa: E402


def trainer(*tasks, seed=0, updates=4, **changes):
    numbers = recipe(**changes)
    tasks = tasks or (task(windows=4),)
    return Trainer(
        tasks,
        [spec.default_action for spec in tasks],
        numbers,
        steps=updates * numbers.windows,
        seed=seed,
    )


def weights(learning):
    return np.concatenate([array.ravel() for array in learning.policy().layers])


def trained(learning, updates):
    for _ in range(updates):
        learning.learn()
    return learning


def test_the_same_seed_gives_the_same_policy():
    first, second = (weights(trained(trainer(), 2)) for _ in range(2))

    assert np.array_equal(first, second)


def test_another_seed_gives_another_policy():
    assert not np.array_equal(weights(trainer()), weights(trainer(seed=1)))


def test_threads_do_not_change_what_is_learnt():
    numbers = recipe()
    spec = task(windows=4)
    make = {"steps": 16, "seed": 0}

    found = [
        weights(
            trained(Trainer([spec], [spec.default_action], numbers, threads=threads, **make), 1)
        )
        for threads in (1, 2)
    ]

    assert np.array_equal(*found)


def test_a_training_taken_up_from_its_state_ends_as_one_that_was_never_stopped():
    whole = trained(trainer(), 2)
    assert whole.at_start
    state = whole.state()

    taken_up = trainer()
    taken_up.restore(state)

    assert np.array_equal(weights(trained(taken_up, 2)), weights(trained(whole, 2)))


def test_an_update_reports_steps_and_reward():
    progress = trainer().learn()

    assert progress.steps == 8
    assert -1.0 <= progress.mean_reward <= 1.0


def test_the_learning_rate_falls_to_nothing_over_the_training():
    learning = trained(trainer(updates=2), 1)
    before = weights(learning)

    step = np.abs(weights(trained(learning, 1)) - before).max()

    assert 0.0 < step < 8 * 0.5 * 7e-4


def test_one_policy_learns_several_tasks_at_once():
    learning = trainer(one_knob("batch_cap"), one_knob("speculation_depth"))

    progress = learning.learn()

    assert learning.environments == 4
    assert progress.steps == 8


def test_a_policy_learns_which_level_pays():
    # Nothing is paid but unreserved memory, so the smallest budget is best.
    spec = task(windows=8, active_actions=["kv_budget_fraction"], reward={"memory": 1.0})
    changes = {"traces": 2, "windows_per_update": 8, "learning_rate": 0.01, "epochs": 4}
    learning = trainer(spec, updates=16, **changes)

    rewards = [learning.learn().mean_reward for _ in range(16)]

    # The entries of the menu lie near each other: all there is to gain is about .01 a window.
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.02
