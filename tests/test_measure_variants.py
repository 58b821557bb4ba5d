"""The script that plays agents on the variants, and the results that are shipped."""

import json

import pytest

from agents.parallel import Workers
from agents.tuned_files import constant_for
from llmserve_env.tasks import shipped_catalogue
from scripts import measure_variants
from scripts.measure_variants import RESULTS, agents_on, main, measure
from scripts.variants_report import DESCRIPTIONS, page

CATALOGUE = shipped_catalogue()
AZURE = CATALOGUE.get("static_azure_conv")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(measure_variants, "REGISTERED", ("vllm_default",))
    monkeypatch.setattr(measure_variants, "DESCRIBED_SEEDS", 2)
    return CATALOGUE.model_copy(update={"variants": (AZURE,)})


def test_the_constant_of_the_task_plays_beside_the_variants_own():
    agents = agents_on(AZURE, CATALOGUE)

    held = constant_for(CATALOGUE.get("static_workload"), CATALOGUE.environment_version)
    assert agents["best_constant"] == "best_constant"
    assert json.loads(agents["task_constant"].removeprefix("constant:")) == held.model_dump()
    assert list(agents) == list(DESCRIPTIONS)


def test_the_results_hold_every_agent_on_the_same_seeds(few):
    seeds = [2_000_000, 2_000_001]

    found = measure(few, seeds, workers=Workers())

    variant = found["variants"]["static_azure_conv"]
    assert found["seeds"] == seeds
    assert variant["variant_of"] == "static_workload"
    assert list(variant["agents"]) == ["best_constant", "task_constant", "vllm_default"]
    assert {len(each["raw_scores"]) for each in variant["agents"].values()} == {2}
    assert variant["agents"]["best_constant"]["to_best_constant"]["value"] == 0.0
    assert variant["agents"]["vllm_default"]["to_best_constant"]["high"] < 0.0
    assert variant["rejected_fraction"] == 0.0
    assert variant["traffic"]["rho, mean"][0] > 0.3


def test_few_episodes_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--episodes", "63"])

    assert "--episodes must be at least 64, got 63" in capsys.readouterr().err


def test_the_shipped_results_are_of_the_shipped_variants_and_constants():
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))

    version = CATALOGUE.environment_version
    expected = {
        task.task_id: constant_for(task, version).model_dump(mode="json")
        for task in CATALOGUE.variants
    }
    assert stored["environment_version"] == version
    assert {name: each["best_constant"] for name, each in stored["variants"].items()} == expected
    assert len(stored["seeds"]) >= 64


def test_no_constant_of_a_task_is_clearly_better_than_that_of_its_variant():
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))["variants"]

    better = [
        name
        for name, each in stored.items()
        if each["agents"]["task_constant"]["to_best_constant"]["low"] > 0.0
    ]
    assert better == []


def test_the_shipped_page_is_that_of_the_shipped_results():
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))

    assert measure_variants.REPORT.read_text(encoding="utf-8") == page(stored)
