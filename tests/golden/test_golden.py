"""What the simulator does today is what it did when the golden files were made."""

import json

import pytest

from llmserve_env.tasks import shipped_catalogue
from scripts.regenerate_golden import DIRECTORY, record

TASK_IDS = [task.task_id for task in shipped_catalogue().tasks]
ADVICE = "if the change is meant, run scripts/regenerate_golden.py and say in CHANGELOG.md why"


def golden(task_id: str) -> dict:
    return json.loads((DIRECTORY / f"{task_id}.json").read_text(encoding="utf-8"))


def close(value):
    """The value up to a billionth: another processor may round a logarithm differently."""
    if isinstance(value, list):
        return [close(each) for each in value]
    return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value


def test_every_task_has_a_golden_file_and_no_file_is_left_over():
    assert sorted(path.stem for path in DIRECTORY.glob("*.json")) == sorted(TASK_IDS), ADVICE


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_golden_file_is_of_this_environment_version(task_id):
    stated = golden(task_id)["environment_version"]

    assert stated == shipped_catalogue().environment_version, ADVICE


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_trajectory_is_the_recorded_one(task_id):
    expected = golden(task_id)

    found = record(task_id)

    assert found["actions"] == expected["actions"], ADVICE
    assert found["reward"] == close(expected["reward"]), ADVICE
    for name, values in expected["metrics"].items():
        made_with = f"{name} of {task_id}, made with numpy {expected['numpy_version']}; {ADVICE}"
        assert found["metrics"][name] == close(values), made_with


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_recorded_trajectory_serves_and_meets_limits(task_id):
    metrics = golden(task_id)["metrics"]

    assert sum(metrics["finished_requests"]) > 20
    assert min(metrics["kv_cache_occupancy"]) >= 0.0
    assert max(metrics["kv_cache_occupancy"]) > 0.0
