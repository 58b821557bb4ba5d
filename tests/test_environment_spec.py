"""ENVIRONMENT.md says what the models, the tasks and the version say."""

import re
from pathlib import Path

import pytest

from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import shipped_catalogue
from simulator.reward import TERMS

SPEC = (Path(__file__).resolve().parent.parent / "ENVIRONMENT.md").read_text(encoding="utf-8")
HEADINGS = ["Description", "Actions", "Observations", "Reward", "Start", "End", "Version history"]
TASKS = shipped_catalogue().tasks
PROPERTIES = ServeObservation.model_json_schema()["properties"]


def section(heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", SPEC, re.MULTILINE | re.DOTALL).group(1)


def rows_of(heading):
    """The cells of every row of the section's tables, by each name in its first cell."""
    rows = {}
    for line in section(heading).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`(\w+)`", cells[0]) if line.startswith("|") else []:
            rows[name] = cells
    return rows


def flat(schema):
    """The schemas that a field, or an item of it, may follow: [a number's, perhaps null's]."""
    found = []
    for option in schema.get("anyOf", [schema]):
        found += flat(option["prefixItems"][0]) if "prefixItems" in option else [option]
    return sorted(found, key=lambda option: option.get("type") == "null")


def bounds_in_words(field):
    number, *null = flat(PROPERTIES[field])
    bounds = "[0, 1]" if number.get("maximum") == 1.0 else ">= 0"
    return bounds + (", None" if null else "")


MEASURED = [field for field in PROPERTIES if flat(PROPERTIES[field])[0].get("minimum") == 0]


def test_it_has_the_fixed_headings():
    found = re.findall(r"^## (.*)$", SPEC, re.MULTILINE)

    assert [heading for heading in found if heading in HEADINGS] == HEADINGS


def test_it_is_about_the_version_in_force():
    version = shipped_catalogue().environment_version

    assert f"environment version {version}" in SPEC
    assert re.search(r"^- \*\*(.+?)\*\*", section("Version history"), re.MULTILINE)[1] == version


@pytest.mark.parametrize("knob", ["batch_cap", "kv_budget_fraction", "speculation_depth"])
def test_the_ranges_of_the_knobs_are_those_of_the_contract(knob):
    bounds = ServeAction.model_json_schema()["properties"][knob]

    assert rows_of("Actions")[knob][2] == f"{bounds['minimum']}..{bounds['maximum']}"


def test_every_knob_has_a_row():
    assert set(rows_of("Actions")) >= set(ServeAction.model_fields)


def test_every_field_of_the_observation_has_a_row_and_no_other_has():
    assert set(rows_of("Observations")) == set(ServeObservation.model_fields)


@pytest.mark.parametrize("field", MEASURED)
def test_the_bounds_of_a_measured_number_are_those_of_the_contract(field):
    assert rows_of("Observations")[field][2] == bounds_in_words(field)


def test_every_term_of_the_reward_has_a_row():
    assert set(TERMS) <= set(rows_of("Reward"))


@pytest.mark.parametrize(("place", "task"), list(enumerate(TASKS, start=1)))
def test_the_table_of_tasks_holds_their_objectives_and_weights(place, task):
    column = " ".join(
        line.split("|")[place + 1] for line in section("Tasks").splitlines() if line[:2] == "| "
    )
    weights = {name: float(value) for name, value in re.findall(r"`(\w+)` (\d\.\d+)", column)}

    assert weights == {term: w for term, w in task.reward.model_dump().items() if w}
    assert f"{task.deployment.gpus} A100, {task.deployment.memory_limit_gb:g} GB" in column
    for objectives in (task.slo.ttft_ms, task.slo.itl_ms):
        assert " / ".join(f"{ms:g}" for ms in dict.fromkeys(objectives)) in column
    assert task.gymnasium_id in column
