import dataclasses

import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from tests.ppo_tasks import recipe

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # networks this small gain nothing by more

from agents.ppo.card import read_card  # noqa: E402
from agents.ppo.policy import load_policy  # noqa: E402
from agents.ppo.training import Plan, Training  # noqa: E402

# Four rounds of 50 windows by two environments: the episodes of 200 windows end with the last.
SMALL = {"traces": 1, "windows_per_update": 100, "epochs": 1}
STEPS = 800


class KilledError(Exception):
    """What ends a training in the middle."""


@pytest.fixture
def plan(tmp_path):
    return Plan(
        task_ids=("static_workload",),
        steps=STEPS,
        seed=3,
        folder=tmp_path / "run",
        weights=tmp_path / "weights" / "p.npz",
        command="python train.py --task static_workload",
    )


def stopped(plan, *, after):
    """A training that is ended from outside after so many updates."""
    training = Training(plan, recipe(**SMALL))

    def kill(_):
        if training.trainer.update == after:
            raise KilledError

    with pytest.raises(KilledError):
        training.run(on_update=kill)


def test_a_training_leaves_weights_a_card_and_a_curve(plan):
    card = Training(plan, recipe(**SMALL)).run()

    assert load_policy(plan.weights).menu == recipe().kv
    assert read_card(plan.weights) == card
    lines = (plan.folder / "curve.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["steps", "400", "800"]


def test_the_card_tells_how_the_policy_was_made(plan):
    card = Training(plan, recipe(**SMALL)).run()

    assert card.environment_version == shipped_catalogue().environment_version
    assert (card.tasks, card.seed, card.steps) == (("static_workload",), 3, STEPS)
    assert card.command == "python train.py --task static_workload"
    assert card.validation["static_workload"].seeds == 2
    assert card.chosen_at_steps in (400, 800)


def test_the_policy_that_is_kept_is_the_best_of_all_validations(plan):
    found = []

    card = Training(plan, recipe(**SMALL)).run(
        on_results=lambda _, results: found.append(results["static_workload"].difference)
    )

    assert card.validation["static_workload"].difference == max(found)


def test_a_training_that_was_killed_ends_as_one_that_was_not(plan, tmp_path):
    stopped(plan, after=3)  # past the checkpoint, which the second update left
    elsewhere = dataclasses.replace(plan, folder=tmp_path / "2", weights=tmp_path / "whole.npz")
    Training(elsewhere, recipe(**SMALL)).run()

    Training(plan, recipe(**SMALL), resume=True).run()

    pairs = zip(
        load_policy(plan.weights).layers, load_policy(elsewhere.weights).layers, strict=True
    )
    assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_a_checkpoint_of_another_training_is_refused(plan):
    Training(plan, recipe(**SMALL)).run()
    other = dataclasses.replace(plan, seed=4)

    with pytest.raises(InvalidInputError, match=r"'seed': 3.*'seed': 4"):
        Training(other, recipe(**SMALL), resume=True)


def test_without_a_checkpoint_there_is_nothing_to_resume(plan):
    with pytest.raises(InvalidInputError, match="no checkpoint to resume from"):
        Training(plan, recipe(**SMALL), resume=True)
