"""Trains every shipped policy from several seeds and ships the median: weights/, docs/learning*.

    uv run python -m scripts.ship_weights [--jobs 2] [--seeds generalist=3]
    uv run python -m scripts.ship_weights --policies bursty_workload --steps bursty_workload=1000000

A run that was killed goes on: a training that is complete, of the same command, recipe, environment
version and encoding, is not repeated. `--policies` writes docs/learning.md of those policies alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agents.ppo.card import Card, card_path, read_card
from agents.ppo.policy import encoding_hash, load_policy
from agents.ppo.recipe import changed_recipe
from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.tasks import shipped_catalogue
from scripts.headroom_report import PLANNER, REACTIVE
from scripts.learning_curves import Anchors, picture, read_curve, write_curves
from scripts.learning_report import Trained, page
from scripts.measure_headroom import read_results
from scripts.policy_levels import behaviour

ROOT: Final = Path(__file__).parent.parent
WEIGHTS: Final = ROOT / "weights"
REPORT: Final = ROOT / "docs" / "learning.md"
CURVES: Final = ROOT / "docs" / "learning"
# Relative to the project, which is where train.py runs: the cards name no folder of this machine.
RUNS: Final = Path("runs/ship")
GENERALIST: Final = "generalist"
# Windows to learn from: more where there is more to tell apart.
STEPS: Final = {
    "static_workload": 300_000,
    "bursty_workload": 1_800_000,
    "adversarial_multitenant": 2_400_000,
    GENERALIST: 1_200_000,
}
# Numbers of the recipe that a policy is trained with instead, see docs/learning_attempts.md.
WIDE: Final = ("bursty_workload", "adversarial_multitenant", GENERALIST)
CHANGES: Final[dict[str, dict[str, Any]]] = {name: {"hidden_units": 128} for name in WIDE}
SEEDS: Final = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a policy.

    Attributes:
        name: Of the policy: its task's id, or generalist.
        seed: Of the training.
        steps: Windows to learn from.
        runs: Folder of all trials.
    """

    name: str
    seed: int
    steps: int
    runs: Path

    @property
    def changes(self) -> dict[str, Any]:
        """Numbers of the recipe that are replaced."""
        return CHANGES.get(self.name, {})

    @property
    def folder(self) -> Path:
        """Where train.py keeps the run, and this script has it put the weights."""
        return self.runs / f"{self.name}-seed{self.seed}"

    @property
    def weights(self) -> Path:
        """The .npz, its card beside it."""
        return self.folder / f"{self.name}.npz"

    @property
    def arguments(self) -> list[str]:
        """What train.py is called with."""
        task = "all" if self.name == GENERALIST else self.name
        changes = [f"{name}={json.dumps(value)}" for name, value in self.changes.items()]
        return [
            *("--task", task, "--steps", str(self.steps), "--seed", str(self.seed)),
            *(part for change in changes for part in ("--set", change)),
            *("--runs", str(self.runs), "--weights", str(self.folder)),
        ]

    def card(self) -> Card | None:
        """The card, if this very training is complete; None if it is still to be done."""
        if not (self.weights.exists() and card_path(self.weights).exists()):
            return None
        try:
            card = read_card(self.weights)
        except InvalidInputError:
            return None  # of an older form
        made = card.command, card.recipe, card.environment_version, card.encoding_hash
        wanted = (
            shlex.join(["python", "train.py", *self.arguments]),
            changed_recipe(self.changes),
            shipped_catalogue().environment_version,
            encoding_hash(),
        )
        return card if made == wanted else None


def train(trial: Trial) -> Card:
    """The card of a trial, which is played unless it is complete.

    Raises:
        InvalidInputError: If the training fails, naming its log.
    """
    done = trial.card()
    if done is not None:
        print(f"{trial.folder}: there already")
        return done
    log = trial.folder / "train.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        command = [sys.executable, "train.py", *trial.arguments]
        status = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, check=False).returncode
    card = trial.card()
    if status or card is None:
        raise InvalidInputError(f"{trial.folder}: train.py ended with status {status}, see {log}")
    print(f"{trial.folder}: {merit(card):+.4f} in {card.wall_s:.0f} s", flush=True)
    return card


def merit(card: Card) -> float:
    """How far above the best constants on validation seeds, tasks weighing alike."""
    return sum(found.difference for found in card.validation.values()) / len(card.validation)


def median_index(cards: Sequence[Card]) -> int:
    """Which of the cards is in the middle by its merit; of two in the middle the lower."""
    order = sorted(range(len(cards)), key=lambda index: merit(cards[index]))
    return order[(len(cards) - 1) // 2]


def ship(trials: Sequence[Trial], cards: Sequence[Card], anchors: dict[str, Anchors]) -> Trained:
    """Copy the median policy to weights/, write all curves, and return what the page tells."""
    chosen = median_index(cards)
    name = trials[chosen].name
    _copy(trials[chosen].weights, WEIGHTS / f"{name}.npz")
    _copy(card_path(trials[chosen].weights), WEIGHTS / f"{name}.json")
    curves = [read_curve(trial.folder / "curve.csv", trial.seed) for trial in trials]
    write_curves(CURVES / f"{name}.csv", curves)
    shown = {task_id: anchors[task_id] for task_id in cards[chosen].tasks}
    title = f"{name}: PPO on validation seeds"
    write_text(CURVES / f"{name}.svg", picture(title, curves, shown))
    print(f"{name}: seed {cards[chosen].seed} of {len(cards)} shipped", flush=True)
    policy, catalogue = load_policy(trials[chosen].weights), shipped_catalogue()
    return Trained(
        name=name,
        cards=tuple(cards),
        merits=tuple(merit(card) for card in cards),
        chosen=chosen,
        behaviours={
            task_id: behaviour(policy, catalogue.get(task_id)) for task_id in cards[chosen].tasks
        },
    )


def run(steps: dict[str, int], seeds: dict[str, int], *, jobs: int, runs: Path) -> None:
    """Train, choose, copy, draw; the page is written anew after every policy.

    Args:
        steps: Windows to learn from, by policy.
        seeds: How many trainings, from seed 0 on, by policy.
        jobs: How many trainings run at a time.
        runs: Folder of the trainings, relative to the project.

    Raises:
        InvalidInputError: If a training fails.
    """
    anchors, trained = headroom_anchors(), list[Trained]()
    groups = [
        [Trial(name=name, seed=seed, steps=count, runs=runs) for seed in range(seeds[name])]
        for name, count in steps.items()
    ]
    with ThreadPoolExecutor(jobs) as pool:
        # One queue for all policies, so that no process idles at the end of each.
        cards = pool.map(train, [trial for trials in groups for trial in trials])
        for trials in groups:
            trained.append(ship(trials, list(islice(cards, len(trials))), anchors))
            write_text(REPORT, page(trained))


def headroom_anchors() -> dict[str, Anchors]:
    """What the stored measurement of the headroom says about every task.

    Raises:
        InvalidInputError: If it is of another version of the environment.
    """
    results, version = read_results(), shipped_catalogue().environment_version
    if results["environment_version"] != version:
        raise InvalidInputError(
            f"docs/headroom.json is of version {results['environment_version']}, this is "
            f"{version}; run python -m scripts.measure_headroom"
        )
    return {
        task_id: Anchors(
            reactive=agents[REACTIVE]["to_best_constant"]["value"],
            clairvoyant=agents[PLANNER]["to_best_constant"]["value"],
        )
        for task_id, agents in results["tasks"].items()
    }


def _copy(source: Path, target: Path) -> None:
    """Put a copy in place at one stroke."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    shutil.copyfile(source, draft)
    draft.replace(target)


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--policies", nargs="+", choices=STEPS, default=list(STEPS), help="all if left out")
    add("--steps", nargs="+", type=_named, default=[], help="NAME=COUNT, windows to learn from")
    add("--seeds", nargs="+", type=_named, default=[], help="NAME=COUNT, trainings, 5 if left out")
    add("--jobs", type=_count, default=2, help="trainings at a time")
    add("--runs", type=Path, default=RUNS, help="folder of the trainings")
    return parser.parse_args(argv)


def _count(content: str) -> int:
    value = int(content)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _named(content: str) -> tuple[str, int]:
    name, _, count = content.partition("=")
    if name not in STEPS:
        raise argparse.ArgumentTypeError(f"no policy {name!r}; there are {', '.join(STEPS)}")
    return name, _count(count)


def main(argv: Sequence[str]) -> int:
    """0 when all asked for is shipped."""
    arguments = parse_arguments(argv)
    steps, seeds = STEPS | dict(arguments.steps), dict.fromkeys(STEPS, SEEDS)
    asked = {name: steps[name] for name in arguments.policies}
    run(asked, seeds | dict(arguments.seeds), jobs=arguments.jobs, runs=arguments.runs)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (LLMServeError, FileNotFoundError) as problem:
        sys.exit(f"ship_weights: {problem}")
