"""The KV rule holds a setting, and a budget that follows what the requests at hand need."""

import pytest

from agents.knobs import KnobMenu
from agents.kv_rule import KvRuleAgent
from agents.kv_rule_parameters import KvRuleParameters
from agents.rollout import play_episode
from agents.tuned_files import constant_for
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from scripts.search_kv_rule import neighbours_along, score_rule, ways

TASK = shipped_catalogue().get("bursty_workload")
OTHERS = constant_for(TASK, shipped_catalogue().environment_version)
RULE = KvRuleParameters(others=OTHERS, multiplier=1.0, offset=0.1, slack=0.04)


def test_only_the_budget_moves():
    episode = play_episode(KvRuleAgent(RULE), TASK, 3)

    budgets = {action.kv_budget_fraction for action in episode.actions}
    others = {
        action.model_copy(update={"kv_budget_fraction": 0.5}).model_dump_json()
        for action in episode.actions
    }
    assert len(budgets) > 10
    assert len(others) == 1


def test_a_wider_margin_reserves_more():
    wide = RULE.model_copy(update={"offset": 0.3})

    near, far = (play_episode(KvRuleAgent(rule), TASK, 3) for rule in (RULE, wide))

    mean = [
        sum(action.kv_budget_fraction for action in episode.actions) / TASK.windows
        for episode in (near, far)
    ]
    assert mean[1] - mean[0] > 0.1


def test_the_search_scores_what_the_agent_plays():
    scored = score_rule(TASK, (4, 5), RULE)

    played = [play_episode(KvRuleAgent(RULE), TASK, seed).mean_reward for seed in (4, 5)]
    assert scored == pytest.approx(sum(played) / 2, abs=1e-9)


def test_every_neighbour_differs_in_one_number_or_one_knob():
    menu = KnobMenu(TASK)
    groups = [neighbours_along(RULE, menu, way) for way in ways(menu)]

    for rule in (rule for group in groups for rule in group):
        given, moved = RULE.model_dump(), rule.model_dump()
        flat = {**given, **given.pop("others")}, {**moved, **moved.pop("others")}
        assert sum(flat[0][name] != flat[1][name] for name in flat[0] if name != "others") == 1


def test_a_task_without_a_rule_says_how_to_make_one():
    task = TASK.model_copy(update={"task_id": "unknown"})

    with pytest.raises(InvalidInputError, match=r"scripts\.search_kv_rule"):
        KvRuleAgent().reset(task, 0)
