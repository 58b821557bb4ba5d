"""From tiny episodes to the page; and what the page says of made-up numbers."""

import copy
import json
import re

import pytest

from scripts.explain_policies import explain, main
from scripts.policies_report import page
from scripts.policy_plays import Course
from simulator.engine import action_row
from tests.builders import action, stream, task
from tests.ppo_tasks import policy

KNOBS = ["batch_cap", "kv_budget_fraction", "quantization_tier"]
TENANTS = {
    "streams": [stream(name="chat"), stream(name="code")],
    "regimes": {
        "dwell_low_s": 2.0,
        "dwell_high_s": 3.0,
        "rate_multipliers": [[4.0, 1.0], [1.0, 4.0]],
    },
}


@pytest.fixture(scope="module")
def explained():
    spec = task(windows=12, active_actions=KNOBS, workload=TENANTS)
    many, few = Course(spec, [1, 2, 3]), Course(spec, [1, 2])
    rivals = {
        "best_constant": few.held(action_row(action())),
        "reactive": few.held(action_row(action(kv_budget_fraction=0.5))),
        "clairvoyant": few.held(action_row(action(kv_budget_fraction=0.2, batch_cap=8))),
    }
    return explain(many, few, {"ppo": policy(0), "ppo_generalist": policy(1)}, rivals)


@pytest.fixture
def results(explained):
    found = copy.deepcopy(explained[0])
    return {
        "environment_version": "0.0.0",
        "split": "validation",
        "seeds": [1, 2, 3],
        "planner_seeds": [1, 2],
        "tasks": {"made_up": {"best_constant": action().model_dump(mode="json"), **found}},
    }


def test_what_is_found_can_be_written_as_json(explained):
    content = json.loads(json.dumps(explained[0], allow_nan=False))

    assert list(content["scores"]) == [
        "best_constant",
        "reactive",
        "ppo",
        "ppo_generalist",
        "clairvoyant",
    ]
    assert list(content["policies"]["ppo"]["ablation"]["knobs"]) == KNOBS


def test_the_same_episodes_are_explained_in_the_same_words():
    few = Course(task(windows=6, active_actions=KNOBS[:2]), [1, 2])
    rivals = {
        name: few.held(action_row(action()))
        for name in ("best_constant", "reactive", "clairvoyant")
    }

    first = explain(few, few, {"ppo": policy()}, rivals)

    assert explain(few, few, {"ppo": policy()}, rivals) == first


def test_the_gap_by_term_adds_up_to_the_gap_of_the_scores(explained):
    scores = explained[0]["scores"]
    gap = (sum(scores["clairvoyant"]) - sum(scores["ppo"])) / 2

    for cut in explained[0]["cuts"]:
        parts = [value for terms in cut["adds"]["ppo"] for value in terms.values()]
        assert sum(parts) == pytest.approx(gap)
        assert sum(cut["shares"]) == pytest.approx(1.0)


def test_there_is_a_picture_per_policy_with_a_panel_per_knob(explained):
    _, pictures = explained

    assert list(pictures) == ["ppo", "ppo_generalist"]
    assert pictures["ppo"].count("<polyline") == 1 + 4 * (len(KNOBS) + 1)


def test_the_page_shows_every_table_and_picture(results):
    text = page(results)

    for name in ("ppo", "ppo_generalist"):
        assert f"### made_up: what each knob is worth to `{name}`" in text
        assert f"](policies/made_up_{name}.svg)" in text
    assert "| which tenant dominates | windows |" in text
    assert "| time since the last switch | windows |" in text
    assert "| `quantization_tier` | ppo |" in text


def test_every_row_of_a_table_is_as_wide_as_its_head(results):
    for table in re.findall(r"(?:^\|.*\|\n)+", page(results), re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_sentence_on_knobs_follows_the_intervals(results):
    ablation = results["tasks"]["made_up"]["policies"]["ppo"]["ablation"]
    effects = {
        "batch_cap": (0.01, 0.005, 0.02),
        "kv_budget_fraction": (-0.05, -0.06, -0.04),
        "quantization_tier": (0.0, 0.0, 0.0),
    }
    for knob, (value, low, high) in effects.items():
        ablation["knobs"][knob]["frozen"] = {"value": value, "low": low, "high": high}

    text = page(results)

    assert "the others moving, costs with `kv_budget_fraction` (-0.0500)" in text
    assert "; gains with `batch_cap` (+0.0100)" in text
    assert "; changes no score at all with `quantization_tier` (+0.0000)." in text


def test_a_planner_that_is_beaten_leaves_no_gap_to_split(results):
    scores = results["tasks"]["made_up"]["scores"]
    scores["clairvoyant"] = [value - 0.1 for value in scores["ppo"]]

    section = page(results).split("**`ppo`**")[1].split("**`ppo_generalist`**")[0]

    assert "is -0.1000 (seed by seed -0.1000, -0.1000)" in section
    assert "There is no gap to be split." in section
    assert "Gap by" not in section


def test_more_planner_seeds_than_seeds_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--seeds", "4", "--planner-seeds", "5"])

    assert "got 4 and 5" in capsys.readouterr().err
