"""The notebooks run from top to bottom, and are kept without anything that a machine left."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HAS_TORCH = importlib.util.find_spec("torch") is not None


def run(*arguments):
    command = [sys.executable, "-m", "scripts.run_notebooks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def written(path, *sources):
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{n}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": text,
        }
        for n, text in enumerate(sources)
    ]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def executed(name, folder):
    """What the run of a notebook printed, and its page."""
    done = run("--html", folder, ROOT / "notebooks" / f"{name}.ipynb")
    assert done.returncode == 0, done.stderr
    return done.stdout, (folder / f"{name}.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return executed("02_train_an_agent", tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]

    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}


@pytest.mark.slow
def test_every_cell_about_serving_runs_and_draws(tmp_path):
    told, page = executed("01_serving_in_10_minutes", tmp_path)

    assert "slowest after the first" in told
    assert page.count('role="img"') == 16


@pytest.mark.slow
def test_every_cell_about_training_runs_and_draws(training):
    told, page = training

    assert "slowest after the first" in told
    assert page.count('role="img"') == 8


@pytest.mark.slow
@pytest.mark.skipif(HAS_TORCH, reason="torch is installed: the other branch runs")
def test_without_torch_the_committed_curves_are_drawn(training):
    _, page = training

    assert "no torch here: the committed curves alone" in page
    assert "shipped, seed 4 from" in page


@pytest.mark.slow
@pytest.mark.needs_torch
@pytest.mark.skipif(not HAS_TORCH, reason="needs the extra `train`: torch")
def test_with_torch_the_notebook_trains_ppo_itself(training):
    _, page = training

    assert "PPO trained here" in page
    assert "this notebook from" in page


@pytest.mark.slow
def test_a_cell_that_fails_is_named_in_one_line(tmp_path):
    done = run(written(tmp_path / "bad.ipynb", "1 + 1", "1 / 0"))

    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: bad.ipynb: ZeroDivisionError: division by zero"]


def test_what_is_no_notebook_is_refused(tmp_path):
    path = tmp_path / "bad.ipynb"
    path.write_text("no JSON", encoding="utf-8")

    done = run(path)

    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read the notebook")
    assert len(done.stderr.splitlines()) == 1
