"""What is timed of trainings; nothing here depends on how fast the machine is."""

import pytest

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # networks this small gain nothing by more

from agents.ppo.recipe import shipped_recipe  # noqa: E402
from llmserve_env.tasks import shipped_catalogue  # noqa: E402
from scripts.learning_speed import LearningTiming, OurTraining, learning_rows  # noqa: E402


def timing(**changes):
    given = {
        "case": "a training",
        "per_s": (10_000.0, 30_000.0, 20_000.0),
        "per_cpu_s": (25_000.0,) * 3,
        "validation_s": (0.25, 1.0, 0.5),
        "ratios": (1.0, 3.0, 2.0),
    }
    return LearningTiming(**given | changes)


def test_a_million_steps_take_their_validations_too():
    assert timing().million_s == pytest.approx(50.0 + 0.5 * shipped_recipe().validations)


def test_a_training_without_validations_takes_its_steps_alone():
    assert timing(validation_s=()).million_s == pytest.approx(50.0)


def test_the_table_gives_medians():
    row = learning_rows([timing(validation_s=(), ratios=())])[-1]

    assert row == "| a training | 20,000 | 10,000 | 30,000 | 25,000 | - | 50 | - |"


def test_a_measured_spell_of_learning_is_whole_episodes():
    tiny = {"traces": 1, "replicas": 2, "windows_per_update": 100, "validation_seeds": 1}
    recipe = shipped_recipe().model_copy(update=tiny)

    training = OurTraining([shipped_catalogue().get("static_workload")], recipe)

    assert training.learn() == 400
    assert training.validate() == 1
