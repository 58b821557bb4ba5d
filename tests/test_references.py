"""The anchors of the scale: a strict reader, and the file that is shipped."""

import json

import pytest

from grader.references import parse_references, shipped_references
from llmserve_env.errors import InactiveActionError, NotGradedError
from llmserve_env.tasks import shipped_catalogue
from tests.builders import catalogue, task
from tests.grades import CATALOGUE, references


def changed(**changes):
    return json.dumps(references().model_dump(mode="json") | changes)


def changed_task(**changes):
    anchors = references().model_dump(mode="json")["tasks"]["made_up"]
    return changed(tasks={"made_up": anchors | changes})


def test_what_was_written_is_read():
    assert parse_references(changed(), CATALOGUE) == references()


def test_the_shipped_anchors_belong_to_the_shipped_tasks():
    shipped = shipped_references()

    assert shipped.split == "test"
    assert list(shipped.tasks) == [task.task_id for task in shipped_catalogue().tasks]


def test_another_version_is_an_error():
    with pytest.raises(ValueError, match=r"made for environment_version '0\.0\.9', not '0\.0\.0'"):
        parse_references(changed(environment_version="0.0.9"), CATALOGUE)


def test_a_missing_task_is_an_error():
    with pytest.raises(ValueError, match="no task 'made_up'"):
        parse_references(changed(tasks={}), CATALOGUE)


def test_a_task_that_does_not_exist_is_an_error():
    tasks = references().model_dump(mode="json")["tasks"]

    with pytest.raises(ValueError, match="no such tasks: tetris"):
        parse_references(changed(tasks=tasks | {"tetris": tasks["made_up"]}), CATALOGUE)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"gap_above": 0.0}, "gap_above"),
        ({"gap_below": -0.1}, "gap_below"),
        ({"gap_vllm_default": -0.1}, "gap_vllm_default"),
        ({"gap_sideways": 0.1}, "gap_sideways"),
        ({"best_constant": {}}, "batch_cap"),
        ({"agents": {"random": {"raw_mean": 0.1}}}, "raw_sd"),
    ],
)
def test_a_wrong_field_is_named(changes, field):
    with pytest.raises(ValueError, match=field):
        parse_references(changed_task(**changes), CATALOGUE)


def test_a_number_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="gap_above"):
        parse_references(changed_task(gap_above=float("inf")), CATALOGUE)


def test_a_best_constant_that_the_task_does_not_allow_is_an_error():
    narrow = catalogue(task(active_actions=("priority_routing",)))

    with pytest.raises(InactiveActionError, match="batch_cap"):
        parse_references(changed(), narrow)


def test_a_variant_has_no_scale_and_the_error_says_why():
    shipped, variant = shipped_references(), shipped_catalogue().variants[0]

    with pytest.raises(
        NotGradedError, match=r"not graded: no planner .* evaluate\.py --task static"
    ):
        shipped.scale(variant, shipped.environment_version)


def test_the_scale_of_a_task_is_its_entry():
    assert references().scale(task(), "0.0.0") == references().tasks["made_up"]
