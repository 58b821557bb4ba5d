"""Trains under changed recipes, one number or idea at a time: docs/learning_attempts.md and .json.

    uv run --extra train python -m scripts.try_recipes [--only "short horizon"]

What was tried to learn more than the shipped recipe gives, and what came of it. Validation seeds.
A run that was killed goes on where it stopped; an attempt whose definition changed is run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from agents.ppo.recipe import Recipe, changed_recipe
from agents.ppo.training import Plan, Results, Training
from agents.result_files import write_json, write_text
from llmserve_env import encoding
from llmserve_env.errors import LLMServeError
from llmserve_env.tasks import shipped_catalogue

ROOT: Final = Path(__file__).parent.parent
REPORT: Final = ROOT / "docs" / "learning_attempts.md"
RESULTS: Final = ROOT / "docs" / "learning_attempts.json"
RUNS: Final = ROOT / "runs" / "attempts"
BURSTY: Final = "bursty_workload"
ADVERSARIAL: Final = "adversarial_multitenant"
STEPS: Final = 600_000
LONG: Final = 1_800_000
WIDE: Final[dict[str, Any]] = {"hidden_units": 128}  # as those of both tasks that ship
# What policies chose between and were discounted by before they saw how old a surge is.
EARLIER: Final[dict[str, Any]] = {
    "kv_multipliers": [0.9, 1.0, 1.1, 1.25],
    "kv_offsets": [0.0, 0.03, 0.06, 0.1, 0.16],
    "kv_start": [0.9, 0.1, 0.04],
    "gamma": 0.97,
    "gae_lambda": 0.95,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training that differs from the shipped recipe.

    Attributes:
        name: What it is called.
        idea: Why it might help.
        task_id: What is learnt.
        steps: Windows to learn from.
        seed: Of the training.
        changes: Numbers of the recipe that are replaced.
    """

    name: str
    idea: str
    task_id: str
    steps: int = STEPS
    seed: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    def recipe(self) -> Recipe:
        """The shipped recipe with the changes.

        Raises:
            InvalidInputError: If a change is out of range.
        """
        return changed_recipe(self.changes)


SURGE_AGE: Final = {"blind_to": ["request_arrival_rate.surge_age"]}
TRENDS: Final = {"blind_to": [feature.name for feature in encoding.TRENDS]}
_IDEAS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("shipped recipe, wide", "for comparison", {}),
    ("blind to surges", "what the age of the last surge is worth", SURGE_AGE),
    ("blind to trends", "what averages over past windows are worth", TRENDS),
    ("earlier recipe", "coarser KV menu, longer horizon; it sees surges, too", EARLIER),
    ("narrow networks", "fewer may do", {"hidden_units": 64}),
    ("wider still", "more situations to tell apart", {"hidden_units": 256}),
    ("less exploration", "late policies are sharper", {"entropy": 0.01}),
    ("twice the traces", "gradients are noisy", {"traces": 32, "minibatches": 8}),
    ("short horizon", "most of what an action does has happened after ten windows", {"gamma": 0.9}),
    ("long horizon", "KV that is short now is made up for much later", {"gamma": 0.985}),
    ("no warm start", "the best constant's levels may be a trap", {"warm_start_logit": 0.0}),
)
ATTEMPTS: Final = (
    *(
        Attempt(name, idea, task_id, changes=WIDE | changes)
        for task_id in (BURSTY, ADVERSARIAL)
        for name, idea, changes in _IDEAS
    ),
    *(
        Attempt("three times as long", "it was still rising", task_id, steps=LONG, changes=WIDE)
        for task_id in (BURSTY, ADVERSARIAL)
    ),
)


def definition(attempt: Attempt) -> dict[str, Any]:
    """What tells an attempt from others: it is run again when this changes."""
    version = shipped_catalogue().environment_version
    recipe = attempt.recipe().model_dump(mode="json")
    return {
        "environment_version": version,
        "task_id": attempt.task_id,
        "steps": attempt.steps,
        "seed": attempt.seed,
        "recipe": recipe,
    }


def run(attempt: Attempt, folder: Path) -> dict[str, Any]:
    """Train, and tell what was reached when, as rows for the report.

    Raises:
        OSError: If the folder cannot be written to.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plan = Plan(
        task_ids=(attempt.task_id,),
        steps=attempt.steps,
        seed=attempt.seed,
        folder=folder,
        weights=folder / "policy.npz",
        command="python -m scripts.try_recipes",
    )
    curve: list[tuple[int, float]] = []

    def keep(steps: int, results: Results) -> None:
        curve.append((steps, results[attempt.task_id].difference))
        print(f"{attempt.task_id}, {attempt.name}: {steps:,} {curve[-1][1]:+.4f}", flush=True)

    began_s = time.process_time()
    card = Training(plan, attempt.recipe()).run(on_results=keep)
    kept = card.validation[attempt.task_id]
    return {
        "kept": kept.difference,
        "low": kept.low,
        "high": kept.high,
        "chosen_at_steps": card.chosen_at_steps,
        "curve": curve,
        "cpu_s": time.process_time() - began_s,
    }


def page(attempts: Sequence[Attempt], found: dict[str, Any]) -> str:
    """The report in Markdown."""
    lines = [
        "# What was tried to learn more",
        "",
        "Written by `uv run --extra train python -m scripts.try_recipes`; one training seed each, "
        "raw score less the best constant's on 64 validation seeds. `Kept` is the policy that "
        "validated best in its training, with a 95 % interval over seeds of traffic; `last` is the "
        "policy at the end. Trainings from other seeds spread by about 0.002 (learning.md), so "
        "smaller differences between rows say nothing.",
    ]
    for task_id in dict.fromkeys(attempt.task_id for attempt in attempts):
        rows = [
            _row(attempt, found[key(attempt)])
            for attempt in attempts
            if attempt.task_id == task_id and key(attempt) in found
        ]
        head = [
            "| attempt | idea | changed | windows | kept | 95 % | at | last | CPU s |",
            "|---|---|---|---:|---:|---|---:|---:|---:|",
        ]
        lines += ["", f"## {task_id}", "", *(head + rows if rows else ["Not tried yet."])]
    return "\n".join(lines) + "\n"


def _row(attempt: Attempt, found: dict[str, Any]) -> str:
    reached = found["reached"]
    changed = ", ".join(f"`{name}` {value}" for name, value in attempt.changes.items()) or "-"
    return (
        f"| {attempt.name} | {attempt.idea} | {changed} | {attempt.steps:,} "
        f"| {reached['kept']:+.4f} | {reached['low']:+.4f} to {reached['high']:+.4f} "
        f"| {reached['chosen_at_steps']:,} | {reached['curve'][-1][1]:+.4f} "
        f"| {reached['cpu_s']:.0f} |"
    )


def key(attempt: Attempt) -> str:
    """What an attempt's results are kept under."""
    return f"{attempt.task_id}, {attempt.name}"


def main(argv: Sequence[str]) -> int:
    """0 when every attempt that was asked for has its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(dict.fromkeys(attempt.name for attempt in ATTEMPTS))
    parser.add_argument("--only", nargs="+", choices=names, help="attempts of these names alone")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)  # more gain nothing with networks of this size
    stored: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    found = {
        key(attempt): stored[key(attempt)]
        for attempt in ATTEMPTS
        if stored.get(key(attempt), {}).get("definition") == definition(attempt)
    }
    for number, attempt in enumerate(ATTEMPTS):
        if key(attempt) in found or (given.only and attempt.name not in given.only):
            continue
        reached = run(attempt, RUNS / str(number))
        found[key(attempt)] = {"definition": definition(attempt), "reached": reached}
        write_json(RESULTS, found)
    write_text(REPORT, page(ATTEMPTS, found))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LLMServeError as problem:
        sys.exit(f"try_recipes: {problem}")
