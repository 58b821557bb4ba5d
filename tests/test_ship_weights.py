import json
import shlex
import subprocess
from pathlib import Path

import pytest

from agents.ppo.card import Card, write_card
from agents.ppo.policy import encoding_hash
from agents.ppo.recipe import changed_recipe, shipped_recipe
from agents.ppo.validation import TaskResult
from agents.statistics import Difference
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from scripts import ship_weights
from scripts.learning_curves import Anchors
from scripts.learning_report import Trained, page
from scripts.policy_levels import Behaviour
from scripts.ship_weights import Trial, median_index, merit, ship, train

TASK = "bursty_workload"
ANCHORS = {TASK: Anchors(reactive=0.1, clairvoyant=0.2)}


def result(difference):
    return TaskResult(seeds=2, mean=0.7, constant=0.6, difference=difference, low=0.0, high=0.2)


def card(*differences, **changes):
    tasks = (TASK, "static_workload")[: len(differences)]
    content = {
        "environment_version": shipped_catalogue().environment_version,
        "encoding_hash": encoding_hash(),
        "features": 3,
        "tasks": tasks,
        "seed": 0,
        "steps": 6400,
        "chosen_at_steps": 6400,
        "wall_s": 2.0,
        "steps_per_s": 3200.0,
        "validation": dict(zip(tasks, map(result, differences), strict=True)),
        "command": "python train.py",
        "libraries": {},
        "recipe": shipped_recipe(),
    }
    return Card(**(content | changes))


def trial(folder, seed=0):
    return Trial(name=TASK, seed=seed, steps=6400, runs=folder)


def finished(folder, *, difference=0.1, seed=0, **changes):
    """A trial whose files are there, with a fabricated card."""
    made = trial(folder, seed)
    command = shlex.join(["python", "train.py", *made.arguments])
    made.folder.mkdir(parents=True)
    made.weights.write_bytes(f"weights of seed {seed}".encode())
    facts = {"seed": seed, "command": command, "recipe": changed_recipe(made.changes)}
    write_card(made.weights, card(difference, **(facts | changes)))
    (made.folder / "curve.csv").write_text(
        f"steps,wall_s,{TASK}/difference\n3200,1,0\n6400,2,{difference}\n"
    )
    return made


def behaving(**shares):
    return Behaviour(shares=shares, gain=Difference(0.004, 0.001, 0.007, 0.0015))


def trained(**shares):
    return Trained(
        name=TASK,
        cards=(card(0.1), card(0.2)),
        merits=(0.1, 0.2),
        chosen=0,
        behaviours={TASK: behaving(**shares)},
    )


def never(*_arguments, **_options):
    pytest.fail("a training was started")


@pytest.mark.parametrize(
    ("differences", "index"),
    [((0.3, 0.1, 0.2, 0.5, 0.4), 0), ((0.1,), 0), ((0.4, 0.1, 0.2, 0.3), 2)],
)
def test_the_median_is_chosen_and_of_two_in_the_middle_the_lower(differences, index):
    assert median_index([card(difference) for difference in differences]) == index


def test_the_tasks_of_a_generalist_weigh_alike():
    assert merit(card(0.1, 0.3)) == pytest.approx(0.2)


def test_a_complete_training_is_not_repeated(tmp_path, monkeypatch):
    made = finished(tmp_path, difference=0.125)
    monkeypatch.setattr(subprocess, "run", never)

    assert merit(train(made)) == 0.125


@pytest.mark.parametrize(
    "changes",
    [
        {"environment_version": "0.0.1"},
        {"encoding_hash": "0"},
        {"command": "python train.py --steps 1"},
        {"recipe": shipped_recipe().model_copy(update={"gamma": 0.5})},
    ],
)
def test_a_training_of_anything_else_does_not_count(tmp_path, changes):
    assert finished(tmp_path, **changes).card() is None


def test_what_a_policy_is_trained_with_instead_is_on_its_command_line(tmp_path):
    made = Trial(name="adversarial_multitenant", seed=0, steps=6400, runs=tmp_path)

    assert made.arguments[6:8] == ["--set", "hidden_units=128"]


def test_a_training_without_its_weights_does_not_count(tmp_path):
    made = finished(tmp_path)
    made.weights.unlink()

    assert made.card() is None


def test_a_card_of_an_older_form_does_not_count(tmp_path):
    made = finished(tmp_path)
    made.weights.with_suffix(".json").write_text(json.dumps({"seed": 0}))

    assert made.card() is None


def test_a_training_that_fails_is_reported_with_its_log(tmp_path, monkeypatch):
    def fail(command, **_options):
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(subprocess, "run", fail)

    with pytest.raises(InvalidInputError, match=r"ended with status 2, see .*train\.log"):
        train(trial(tmp_path))


def test_the_median_policy_is_shipped_with_its_card_and_all_curves(tmp_path, monkeypatch):
    differences = (0.3, 0.1, 0.2)
    trials = [
        finished(tmp_path / "runs", difference=difference, seed=seed)
        for seed, difference in enumerate(differences)
    ]
    monkeypatch.setattr(ship_weights, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(ship_weights, "CURVES", tmp_path / "learning")

    monkeypatch.setattr(ship_weights, "load_policy", lambda path: path)
    monkeypatch.setattr(ship_weights, "behaviour", lambda *_: behaving(batch_cap=1.0))

    shipped = ship(trials, [made.card() for made in trials], ANCHORS)

    assert shipped.shipped.seed == 2
    assert (tmp_path / "weights" / f"{TASK}.npz").read_bytes() == b"weights of seed 2"
    assert json.loads((tmp_path / "weights" / f"{TASK}.json").read_text())["seed"] == 2
    assert len((tmp_path / "learning" / f"{TASK}.csv").read_text().splitlines()) == 7
    assert (tmp_path / "learning" / f"{TASK}.svg").read_text().startswith("<svg")


def test_the_page_tells_how_many_seeds_there_were():
    text = page([trained(batch_cap=1.0)])

    assert "| bursty_workload | 2 | +0.1000 +0.2000 | 0.0707 | seed 0 | 6,400 | 2 | 3,200 |" in text
    assert f"Fewer seeds than the 5 that are planned: {TASK} (2)." in text


def test_the_page_says_where_a_policy_never_moves_a_level():
    text = page([trained(batch_cap=1.0, speculation_depth=0.995)])

    assert f"No adaptation learnt: {TASK} on {TASK}." in text


def test_the_page_does_not_say_so_of_a_policy_that_moves_one():
    text = page([trained(batch_cap=1.0, speculation_depth=0.7)])

    assert "speculation_depth 70.0% | +0.1000 | +0.0040 | +0.0010 to +0.0070 |" in text
    assert "No adaptation" not in text


def test_every_task_has_its_anchors():
    anchors = ship_weights.headroom_anchors()

    assert set(anchors) == {task.task_id for task in shipped_catalogue().tasks}
    assert all(found.clairvoyant > 0.0 for found in anchors.values())


def test_every_task_and_the_generalist_are_trained():
    tasks = {task.task_id for task in shipped_catalogue().tasks}

    assert set(ship_weights.STEPS) == tasks | {ship_weights.GENERALIST}


@pytest.mark.parametrize("steps", ["nobody=3", f"{TASK}=0", TASK])
def test_wrong_steps_are_refused(steps):
    with pytest.raises(SystemExit):
        ship_weights.parse_arguments(["--steps", steps])


def test_a_policy_can_be_given_fewer_seeds_than_the_others():
    arguments = ship_weights.parse_arguments(["--seeds", "generalist=3"])

    assert arguments.seeds == [("generalist", 3)]


def test_the_runs_lie_in_the_project_so_that_no_card_names_a_folder_of_the_machine():
    arguments = ship_weights.parse_arguments([])

    assert arguments.runs == Path("runs/ship")
