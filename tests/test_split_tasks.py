"""OpenEnv's TaskProvider over the seeds of the splits."""

import pytest

from llmserve_env.errors import InvalidInputError
from server.openenv_adapter import OpenEnvServing
from server.split_tasks import SplitTasks

TASKS = SplitTasks()


def test_the_splits_are_listed_with_their_seeds():
    assert TASKS.list_splits() == [
        {"name": "train", "type": "train", "seeds": [0, 999_999]},
        {"name": "validation", "type": "validation", "seeds": [1_000_000, 1_999_999]},
        {"name": "test", "type": "test", "seeds": [2_000_000, 2_999_999]},
    ]


def test_a_task_is_a_seed_under_one_of_the_tasks():
    assert TASKS.num_tasks("test") == 3_000_000
    assert TASKS.get_task("test", 4) == {
        "id": "test/bursty_workload/2000001",
        "index": 4,
        "split": "test",
        "task_id": "bursty_workload",
        "seed": 2_000_001,
    }
    assert TASKS.get_task("train", -1)["seed"] == 999_999


def test_what_is_listed_can_be_played():
    task = TASKS.list_tasks("validation")[2]
    serving = OpenEnvServing()

    observation = serving.reset(task_id=task["task_id"], seed=task["seed"])

    assert observation.task_id == "adversarial_multitenant"
    assert serving.state.seed == 1_000_000


def test_a_range_is_read_as_a_slice():
    indices = [task["index"] for task in TASKS.get_task_range("train", 5, 8)]

    assert indices == [5, 6, 7]
    assert len(TASKS.list_tasks("train")) == 60


def test_an_index_beyond_the_split_is_an_index_error():
    with pytest.raises(IndexError):
        TASKS.get_task("test", 3_000_000)


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(InvalidInputError, match="unknown split 'holdout'"):
        TASKS.num_tasks("holdout")


def test_too_long_a_range_is_refused():
    with pytest.raises(InvalidInputError, match="at most 1000 tasks at a time, got 3000000"):
        TASKS.get_task_range("train")
