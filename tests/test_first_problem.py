"""One half sentence for what pydantic found wrong, wherever a file or an option is read."""

import pytest
from pydantic import BaseModel, ValidationError

from llmserve_env.validation import first_problem


class Step(BaseModel):
    depth: int


class Plan(BaseModel):
    steps: list[Step]


def failed(text):
    with pytest.raises(ValidationError) as caught:
        Plan.model_validate_json(text)
    return caught.value


def test_it_names_the_place_and_the_problem():
    told = first_problem(failed('{"steps": [{"depth": 1}, {"depth": "x"}]}'))

    assert told.startswith("steps.1.depth: Input should be a valid integer")
    assert "got" not in told


def test_the_value_is_told_on_demand_and_cut():
    told = first_problem(failed('{"steps": [{"depth": "%s"}]}' % ("x" * 200)), tells_input=True)

    assert told.endswith(", got '" + "x" * 79)


def test_what_is_wrong_as_a_whole_has_a_name_or_none():
    assert first_problem(failed("[")).startswith("Invalid JSON")
    assert first_problem(failed("["), whole="file").startswith("file: Invalid JSON")
