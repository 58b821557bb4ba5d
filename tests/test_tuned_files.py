import pytest

from agents import tuned_files
from agents.reactive_parameters import BOUNDS
from agents.tuned_files import (
    BestConstants,
    Choice,
    Provenance,
    TunedReactive,
    VariantConstants,
    choices_for,
    constant_for,
    read_tuned,
    write_tuned,
)
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeAction
from llmserve_env.tasks import shipped_catalogue
from simulator.deployment import build_deployment
from tests.builders import action

TASKS = shipped_catalogue().tasks
VERSION = shipped_catalogue().environment_version
HOW = Provenance(
    command="by hand",
    train_seeds=1,
    validation_seeds=1,
    candidates=1,
    windows=200,
    train_mean=0.5,
    validation_mean=0.5,
    finalists=(0.5,),
)


def choice(batch_cap):
    return Choice[ServeAction](chosen=action(batch_cap=batch_cap), provenance=HOW)


@pytest.mark.parametrize("kind", [BestConstants, TunedReactive])
def test_the_shipped_files_hold_every_task_of_this_version(kind):
    tuned = read_tuned(kind)

    assert tuned.environment_version == VERSION
    assert set(tuned.tasks) == {task.task_id for task in TASKS}


def test_the_shipped_constants_of_the_variants_are_in_a_file_of_their_own():
    tuned = read_tuned(VariantConstants)

    assert tuned.environment_version == VERSION
    assert set(tuned.tasks) == {task.task_id for task in shipped_catalogue().variants}


@pytest.mark.parametrize("task", shipped_catalogue().playable, ids=lambda task: task.task_id)
def test_the_shipped_constants_may_be_played(task):
    chosen = constant_for(task, VERSION)

    task.check_action(chosen)
    assert chosen.quantization_tier in build_deployment(task).tiers


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.task_id)
def test_the_shipped_parameters_lie_within_their_bounds(task):
    chosen = read_tuned(TunedReactive).tasks[task.task_id].chosen

    outside = [
        name
        for name, bound in BOUNDS.items()
        if not bound.low - 1e-9 <= getattr(chosen, name) <= bound.high + 1e-9
    ]
    assert outside == []


def test_choices_of_another_version_are_refused():
    with pytest.raises(InvalidInputError, match=r"best_constants.json was made .*9.9.9; run me"):
        choices_for(BestConstants, "9.9.9", made_by="me")


def test_a_task_without_a_choice_is_refused():
    tuned = BestConstants(environment_version="1", tasks={"easy": choice(8)})

    with pytest.raises(InvalidInputError, match=r"'hard'; tuned: easy; run me"):
        tuned.get("hard", made_by="me")


def test_a_new_choice_keeps_the_others_of_its_version():
    tuned = BestConstants(environment_version="1", tasks={"easy": choice(8), "hard": choice(8)})

    changed = tuned.with_choice("1", "hard", choice(16))

    assert changed.tasks == {"easy": choice(8), "hard": choice(16)}


def test_a_new_choice_drops_those_of_an_older_version():
    tuned = BestConstants(environment_version="1", tasks={"easy": choice(8)})

    changed = tuned.with_choice("2", "hard", choice(16))

    assert changed.environment_version == "2"
    assert set(changed.tasks) == {"hard"}


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tuned_files, "DATA_FOLDER", tmp_path)
    tuned = BestConstants(environment_version="1", tasks={"easy": choice(8)})

    path = write_tuned(tuned)

    assert BestConstants.model_validate_json(path.read_text(encoding="utf-8")) == tuned
    assert [each.name for each in tmp_path.iterdir()] == ["best_constants.json"]
