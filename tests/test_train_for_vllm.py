"""The policy for the tiny vLLM: what it is trained from, and that what is shipped can be flown."""

import json

from agents.ppo.agent import PpoAgent
from agents.ppo.card import read_card
from agents.rollout import play_episode
from scripts.local_server import ROOT
from scripts.train_for_vllm import TASKS, settings
from scripts.vllm_episodes import TRAINING, WEIGHTS, tiny_catalogue
from simulator.environment import ServingEnvironment


def test_depths_are_tried_only_where_drafts_are_accepted():
    plain, repeating = (settings(task) for task in TASKS[:2])

    assert {action.speculation_depth for action in plain} == {0}
    assert {action.speculation_depth for action in repeating} == {0, 2, 4, 8}
    assert all(task.check_action(action) is None for task in TASKS for action in settings(task))


def test_the_shipped_policy_speculates_where_it_pays_and_nowhere_else():
    depths = {}
    for task in TASKS[:2]:
        seen = []
        play_episode(
            PpoAgent(ROOT / WEIGHTS),
            task,
            7,
            episodes=ServingEnvironment(tiny_catalogue()),
            on_window=seen.append,
        )
        depths[task.task_id] = [each.config.speculation_depth for each in seen[5:]]

    assert max(depths["tiny_bursts"]) == 0
    assert min(depths["tiny_bursts_repeating"]) >= 2


def test_the_card_is_of_both_tasks_and_the_report_is_of_the_same():
    card = read_card(ROOT / WEIGHTS)
    told = json.loads(TRAINING.read_text(encoding="utf-8"))

    assert set(card.tasks) == set(told) == {task.task_id for task in TASKS}
    for reached in told.values():
        assert reached["goodput_share"]["PPO"] > reached["goodput_share"]["vLLM's defaults"]
