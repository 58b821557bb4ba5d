import subprocess
import sys
import time
from pathlib import Path

import pytest

import train

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ([], "--task is needed"),
        (["--task", "all", "--steps", "0"], "must be at least 1, got 0"),
        (["--task", "all", "--seed", "-1"], "must be 0 to"),
        (["--task", "all", "--set", "gamma"], "must be NAME=NUMBER or a list, got 'gamma'"),
    ],
)
def test_a_wrong_command_line_is_refused(argv, problem, capsys):
    with pytest.raises(SystemExit) as exit_:
        train.parse_arguments(argv)

    assert exit_.value.code == 2
    assert problem in capsys.readouterr().err


def test_a_smoke_training_needs_no_task():
    arguments = train.parse_arguments(["--smoke"])

    assert arguments.task == "static_workload"


def test_numbers_of_the_recipe_can_be_set():
    arguments = train.parse_arguments(
        ["--smoke", "--set", "hidden_units=128", "--set", "kv_slacks=[0.04]"]
    )

    found = train.recipe_of(arguments)

    assert (found.hidden_units, found.kv.slacks, found.traces) == (128, (0.04,), 2)


@pytest.mark.needs_torch
def test_a_number_that_no_recipe_has_is_refused(capsys):
    pytest.importorskip("torch")

    assert train.main(["--smoke", "--set", "hidden_units=0"]) == 2
    assert "hidden_units: Input should be greater than or equal to 1, got 0" in (
        capsys.readouterr().err
    )


@pytest.mark.needs_torch
def test_an_unknown_task_is_refused(capsys):
    pytest.importorskip("torch")

    assert train.main(["--task", "no_such_task"]) == 2
    assert "unknown task_id 'no_such_task'" in capsys.readouterr().err


@pytest.mark.needs_torch
def test_a_smoke_training_writes_its_weights_beside_its_run(tmp_path, capsys):
    pytest.importorskip("torch")

    status = train.main(["--smoke", "--steps", "400", "--runs", str(tmp_path)])

    folder = tmp_path / "smoke-static_workload-seed0"
    assert status == 0
    assert {"static_workload.npz", "static_workload.json", "curve.csv"} <= {
        path.name for path in folder.iterdir()
    }
    assert f"weights: {folder / 'static_workload.npz'}" in capsys.readouterr().out


@pytest.mark.needs_torch
def test_all_tasks_together_make_a_generalist(tmp_path):
    pytest.importorskip("torch")
    arguments = train.parse_arguments(["--task", "all", "--weights", str(tmp_path)])

    plan = train.plan_of(arguments)

    assert plan.weights == tmp_path / "generalist.npz"
    assert len(plan.task_ids) > 1


@pytest.mark.slow
@pytest.mark.needs_torch
def test_a_training_goes_on_after_kill_9(tmp_path):
    pytest.importorskip("torch")
    command = [sys.executable, "train.py", "--smoke", "--steps", "1600", "--runs", str(tmp_path)]
    checkpoint = tmp_path / "smoke-static_workload-seed0" / "checkpoint.pt"
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not checkpoint.exists() and first.poll() is None:
        time.sleep(0.05)
    first.kill()
    first.wait()

    second = subprocess.run(
        [*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert second.returncode == 0, second.stderr
    assert "1,600 steps in" in second.stdout
