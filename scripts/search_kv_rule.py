"""Searches the best fixed rule for the KV budget of a task: agents/data/kv_rules.json.

    python -m scripts.search_kv_rule [--task ID|all] [--processes 2]

A grid of rules beside the best constant's other knobs is screened on training seeds, the best are
improved number by number and knob by knob, and validation seeds choose among the finalists.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np

from agents.knob_steps import neighbours
from agents.knobs import KnobMenu
from agents.kv_rule import levels_of
from agents.kv_rule_parameters import KvRuleParameters
from agents.parallel import add_worker_options, workers_of
from agents.ppo.actions import KV, ActionReader
from agents.ppo.fleet import Lanes, Seeds
from agents.tuned_files import Choice, Provenance, TunedKvRules, constant_for
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.search_tools import Crew, search_tasks
from simulator.engine import action_row

MULTIPLIERS: Final = (0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
OFFSETS: Final = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2)
SLACKS: Final = (0.0, 0.04, 0.08, 0.12)
STEPS: Final = {
    "multiplier": (-0.05, 0.05),
    "offset": (-0.02, -0.01, 0.01, 0.02),
    "slack": (-0.02, 0.02),
}
SCREENING_SEEDS: Final = 8
DESCENT_SEEDS: Final = 24
VALIDATION_SEEDS: Final = 64
STARTS: Final = 3
MOST_PASSES: Final = 3
OTHER_KNOBS: Final = ("batch_cap", "speculation_depth", "quantization_tier", "priority_routing")


def score_rule(task: TaskSpec, seeds: tuple[int, ...], rule: KvRuleParameters) -> float:
    """The mean raw score of a rule on these seeds."""
    reader = ActionReader([task] * len(seeds), rule.menu)
    levels = np.repeat(levels_of(rule.others), len(seeds), axis=0)
    held = action_row(rule.others)
    lanes, total = Lanes(task, [Seeds(seed, seed) for seed in seeds]), 0.0
    for _ in range(task.windows):
        rows = np.tile(held, (len(seeds), 1))
        rows[:, KV] = reader.rows(levels, lanes.features)[:, KV]
        total += float(lanes.step(rows).mean())
    lanes.close()
    return total / task.windows


def ways(menu: KnobMenu) -> list[str]:
    """What of a rule can be moved on the task: its numbers, and the other knobs."""
    return [*STEPS, *filter(menu.moves, OTHER_KNOBS)]


def neighbours_along(rule: KvRuleParameters, menu: KnobMenu, way: str) -> list[KvRuleParameters]:
    """The rules one step away along one of `ways`."""
    if way not in STEPS:
        near = neighbours(menu, rule.others, way, fine=False)
        return [rule.model_copy(update={"others": others}) for others in near]
    least = MULTIPLIERS[0] / 2 if way == "multiplier" else 0.0
    moved = (round(getattr(rule, way) + step, 3) for step in STEPS[way])
    return [rule.model_copy(update={way: value}) for value in moved if value >= least]


def descend(
    workers: Crew, menu: KnobMenu, start: KvRuleParameters, seeds: tuple[int, ...]
) -> tuple[KvRuleParameters, int]:
    """The rule that no single step improves, and how many were tried."""
    current, tried = start, 1
    (value,) = workers.scores(score_rule, menu.task, seeds, [start], label="start")
    for turn in range(MOST_PASSES):
        before = current
        for way in ways(menu):
            near = neighbours_along(current, menu, way)
            label = f"pass {turn + 1}, {way}"
            scores = workers.scores(score_rule, menu.task, seeds, near, label=label)
            tried += len(near)
            if scores and max(scores) > value:
                value = max(scores)
                current = near[int(np.argmax(scores))]
        if current == before:
            break
    return current, tried


def search(workers: Crew, task: TaskSpec) -> Choice[KvRuleParameters]:
    """The best rule of a task and how it was found."""
    menu, windows_before = KnobMenu(task), workers.windows
    constant = constant_for(task, shipped_catalogue().environment_version)
    rules: Sequence[KvRuleParameters] = [
        KvRuleParameters(others=constant, multiplier=multiplier, offset=offset, slack=slack)
        for multiplier, offset, slack in product(MULTIPLIERS, OFFSETS, SLACKS)
    ]
    tried = len(rules)
    seeds = split_seeds("train", SCREENING_SEEDS)
    scores = workers.scores(score_rule, task, seeds, rules, label="screen")
    starts = [rules[index] for index in np.argsort(scores)[::-1][:STARTS]]
    seeds = split_seeds("train", DESCENT_SEEDS)
    finalists = []
    for start in starts:
        found, moves = descend(workers, menu, start, seeds)
        finalists.append(found)
        tried += moves
    train = workers.scores(score_rule, task, seeds, finalists, label="finalists")
    seeds = split_seeds("validation", VALIDATION_SEEDS)
    validation = workers.scores(score_rule, task, seeds, finalists, label="validation")
    chosen = int(np.argmax(validation))
    return Choice[KvRuleParameters](
        chosen=finalists[chosen],
        provenance=Provenance(
            command=f"python -m scripts.search_kv_rule --task {task.task_id}",
            train_seeds=DESCENT_SEEDS,
            validation_seeds=VALIDATION_SEEDS,
            candidates=tried,
            windows=workers.windows - windows_before,
            train_mean=train[chosen],
            validation_mean=validation[chosen],
            finalists=tuple(sorted(validation, reverse=True)),
        ),
    )


def main() -> None:
    """Search, print what was found, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="all", help="a task's id, or all")
    add_worker_options(parser, processes_option="--processes")
    arguments = parser.parse_args()
    catalogue = shipped_catalogue()
    tasks = catalogue.tasks if arguments.task == "all" else (catalogue.get(arguments.task),)
    search_tasks(TunedKvRules, tasks, workers=workers_of(arguments), search=search)


if __name__ == "__main__":
    main()
