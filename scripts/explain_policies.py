"""What the shipped policies learned: docs/policies.md and .json, pictures in docs/policies/.

    uv run python -m scripts.explain_policies [--seeds 32] [--planner-seeds 4]

Knob by knob, regime by regime and term by term, against the best constant action and the
clairvoyant planner, on validation seeds. Plans are kept in policies.json and taken from there as
long as neither the planner nor the environment has changed; without the file all are made anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.clairvoyant import ClairvoyantAgent
from agents.ppo.actions import FloatArray
from agents.ppo.agent import GENERALIST, WEIGHTS
from agents.ppo.policy import Policy, load_policy
from agents.reactive import ReactiveAgent
from agents.result_files import write_json, write_text
from agents.tuned_files import constant_for
from llmserve_env.errors import LLMServeError
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.kept_plans import Kept, as_text, fingerprint, plans
from scripts.knob_timelines import gained_so_far, knob_panel, number_panel, picture
from scripts.policies_report import page, picture_name
from scripts.policy_gains import (
    CONSTANT,
    PLANNER,
    REACTIVE,
    ablation,
    by_kind,
    exchange,
    moving_knobs,
    term_gains,
)
from scripts.policy_plays import Course, Play
from scripts.true_regimes import cuts, spans
from simulator.engine import action_row

DOCS: Final = Path(__file__).parent.parent / "docs"
REPORT: Final = DOCS / "policies.md"
RESULTS: Final = DOCS / "policies.json"
SPLIT: Final = "validation"
LEAST_SEEDS: Final = 2


def policies_for(task: TaskSpec) -> dict[str, Policy]:
    """The shipped policies that play a task, by the name of the agent.

    Raises:
        InvalidInputError: If there are no weights, or they are for another environment.
    """
    own = WEIGHTS / f"{task.family}.npz"
    return {"ppo": load_policy(own), "ppo_generalist": load_policy(GENERALIST)}


def explain(
    many: Course, few: Course, policies: Mapping[str, Policy], rivals: Mapping[str, FloatArray]
) -> tuple[dict[str, Any], dict[str, str]]:
    """All that the page says of a task, ready for JSON, and its pictures by policy.

    Args:
        many: The episodes that knobs are frozen on.
        few: The planner's episodes of the same task.
        policies: By name.
        rivals: Schedules (windows, seeds, 6) on the planner's episodes: those of the planner, the
            reactive controller and the best constant action, and what else is to be compared.
    """
    task, constant = many.task, rivals[CONSTANT][0, 0]
    knobs = moving_knobs(task)
    learnt = {
        name: few.play(few.held(constant), policy=policy, follows=knobs)
        for name, policy in policies.items()
    }
    others = {name: few.play(schedule) for name, schedule in rivals.items()}
    # The order of the page's columns.
    plays = {name: others.pop(name) for name in (CONSTANT, REACTIVE)} | learnt | others
    found = {
        "knobs": list(knobs),
        "scores": {name: play.scores.tolist() for name, play in plays.items()},
        "policies": {
            name: {
                "ablation": ablation(many, policy, constant),
                "exchange": exchange(few, policy, rivals[PLANNER]),
                "gained": term_gains(plays[name], plays[CONSTANT], task.reward),
            }
            for name, policy in policies.items()
        },
        "cuts": [by_kind(cut, plays, task.reward, list(policies)) for cut in cuts(few)],
    }
    timeline, pictures = timelines(few, plays, list(policies))
    return found | {"timeline": timeline}, pictures


def timelines(
    course: Course, plays: Mapping[str, Play], policies: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """One episode as text, and as a picture by policy beside the others' lines.

    It is the first of those whose traffic shows most regimes.
    """
    task, cut = course.task, cuts(course)[0]
    shown = int(np.argmax([len(np.unique(labels)) for labels in cut.labels.T]))
    rows = {name: play.rows[:, shown] for name, play in plays.items()}
    rewards = {name: play.rewards[:, shown] for name, play in plays.items()}
    regimes = [(first, end, cut.names[kind]) for first, end, kind in spans(cut.labels[:, shown])]
    seed, pictures = course.seeds[shown], {}
    for policy in policies:
        drawn = [CONSTANT, REACTIVE, policy, PLANNER]
        gains = gained_so_far({name: rewards[name] for name in drawn}, CONSTANT)
        arrivals = course.arrivals[:, shown] / task.window_s
        panels = [
            number_panel("arrivals, requests/s", {"": arrivals}),
            *(knob_panel(k, {name: rows[name] for name in drawn}) for k in moving_knobs(task)),
            number_panel("raw score gained on the best constant so far", gains),
        ]
        title = f"{policy} on {task.task_id}, seed {seed}"
        pictures[policy] = picture(title, panels, window_s=task.window_s, regimes=regimes)
    content = {
        "seed": seed,
        "regimes": [list(regime) for regime in regimes],
        "knobs": {name: as_text(given) for name, given in rows.items()},
    }
    return content, pictures


def rivals_on(
    course: Course, best: ServeAction, kept: Mapping[str, Kept]
) -> tuple[dict[str, FloatArray], dict[str, Kept]]:
    """Schedules (windows, seeds, 6) of those that policies are compared with, and the plans' text.

    Args:
        course: The planner's episodes of a shipped task.
        best: Its best constant action.
        kept: Plans of an earlier run, by planner.
    """
    task = course.task

    def plan(seed: int) -> FloatArray:
        print(f"{task.task_id}: planning seed {seed}", flush=True)
        return Course(task, [seed]).schedule_of(ClairvoyantAgent())[:, 0]

    full, text = plans(course.seeds, kept.get(PLANNER, {}), plan)
    return {
        CONSTANT: course.held(action_row(best)),
        REACTIVE: course.schedule_of(ReactiveAgent()),
        PLANNER: full,
    }, {PLANNER: text}


def measure(seeds: Sequence[int], planner_seeds: Sequence[int]) -> dict[str, Any]:
    """All results, ready for JSON; the pictures are written on the way.

    Raises:
        InvalidInputError: If weights, or what was tuned for a task, are missing.
    """
    catalogue = shipped_catalogue()
    version = catalogue.environment_version
    planner = fingerprint(version)
    last, tasks, made = _kept(planner), {}, {}
    for task in catalogue.tasks:
        few, best = Course(task, planner_seeds), constant_for(task, version)
        rivals, made[task.task_id] = rivals_on(few, best, last.get(task.task_id, {}))
        found, pictures = explain(Course(task, seeds), few, policies_for(task), rivals)
        tasks[task.task_id] = {CONSTANT: best.model_dump(mode="json"), **found}
        for policy, content in pictures.items():
            write_text(DOCS / picture_name(task.task_id, policy), content)
    return {
        "environment_version": version,
        "split": SPLIT,
        "seeds": list(seeds),
        "planner_seeds": list(planner_seeds),
        "planner": planner,
        "tasks": tasks,
        "plans": made,
    }


def _kept(planner: str) -> dict[str, dict[str, Kept]]:
    """The plans of the last run by task and planner; none if it had another planner."""
    if not RESULTS.exists():
        return {}
    last = json.loads(RESULTS.read_text(encoding="utf-8"))
    return dict(last["plans"]) if last["planner"] == planner else {}


def main(argv: Sequence[str]) -> int:
    """0 when everything is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=32, help="per task, to freeze knobs on")
    parser.add_argument("--planner-seeds", type=int, default=4, help="the first so many of them")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.planner_seeds <= arguments.seeds or arguments.seeds < LEAST_SEEDS:
        parser.error(
            f"need --seeds of at least {LEAST_SEEDS} and 1 to that many --planner-seeds, got "
            f"{arguments.seeds} and {arguments.planner_seeds}"
        )
    seeds = split_seeds(SPLIT, arguments.seeds)
    results = measure(seeds, seeds[: arguments.planner_seeds])
    write_json(RESULTS, results)
    write_text(REPORT, page(results))
    print(f"wrote {REPORT}, {RESULTS} and {DOCS / 'policies'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LLMServeError as problem:
        sys.exit(f"explain_policies: {problem}")
