"""Trains a policy by PPO on simulated traffic and writes its weights and their card.

    python train.py --task adversarial_multitenant --steps 1000000 --seed 0
    python train.py --task all --name generalist
    python train.py --task bursty_workload --set hidden_units=128 --set gamma=0.9
    python train.py --task trace:mine:profile=my-gpu --name mine
    python train.py --smoke

A training that was stopped goes on with the same arguments and --resume. TensorBoard, where it is
installed, reads the folder runs/.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.models import MAX_SEED
from llmserve_env.tasks import shipped_catalogue
from server.settings import use_folders_of_environment

if TYPE_CHECKING:
    from agents.ppo.card import Card
    from agents.ppo.recipe import Recipe
    from agents.ppo.trainer import Progress as Learnt
    from agents.ppo.training import Plan, Results, Training

DEFAULT_STEPS: Final = 1_000_000
GENERALIST: Final = "generalist"
# A training that is over in seconds: it shows that all works, and learns nothing.
SMOKE: Final = {"traces": 2, "replicas": 2, "validations": 2, "validation_seeds": 2}
SMOKE_STEPS: Final = 1_600
SMOKE_TASK: Final = "static_workload"
WRONG_ARGUMENTS, INTERRUPTED = 2, 130


def run(arguments: argparse.Namespace) -> int:
    """Train, show how it goes, write; the exit status.

    Raises:
        LLMServeError: If a task or number does not exist or there is nothing to resume.
    """
    plan, recipe = plan_of(arguments), recipe_of(arguments)
    from agents.ppo.training import Training

    console = Console(stderr=True)
    training = Training(plan, recipe, resume=arguments.resume)
    with training_bar(training, console) as report:
        card = training.run(on_update=report.update, on_results=report.results)
    tell(card, plan)
    return 0


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for.

    Raises:
        InvalidInputError: If torch is not installed.
        UnknownTaskError: If the task does not exist.
    """
    try:
        import torch
    except ImportError as error:
        raise InvalidInputError("training needs torch: uv sync --extra train") from error
    from agents.ppo.training import Plan

    # More threads gain nothing with networks of this size, and lose much on a busy machine.
    torch.set_num_threads(1)
    tasks = shipped_catalogue().tasks
    task_ids = tuple(task.task_id for task in tasks)
    if arguments.task != "all":
        task_ids = (shipped_catalogue().get(arguments.task).task_id,)
    name = arguments.name or (GENERALIST if len(task_ids) > 1 else _file_name(task_ids[0]))
    folder = arguments.runs / f"{'smoke-' if arguments.smoke else ''}{name}-seed{arguments.seed}"
    return Plan(
        task_ids=task_ids,
        steps=arguments.steps,
        seed=arguments.seed,
        folder=folder,
        weights=(folder if arguments.smoke else arguments.weights) / f"{name}.npz",
        command=shlex.join(["python", "train.py", *arguments.given]),
        threads=arguments.threads,
    )


def _file_name(task_id: str) -> str:
    """The id of a task with options, which may hold any character, as a name for files."""
    return re.sub(r"[^\w.-]+", "_", task_id)


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The shipped recipe, or a tiny one, with the numbers that were set.

    Raises:
        InvalidInputError: If a number is unknown or out of range.
    """
    from agents.ppo.recipe import changed_recipe

    return changed_recipe((SMOKE if arguments.smoke else {}) | dict(arguments.changes))


class Report:
    """Shows how a training goes: a bar on a terminal, a line per validation everywhere."""

    def __init__(self, training: Training, bar: Progress, console: Console) -> None:
        """Put the bar where the training is."""
        self._training, self._bar, self._console = training, bar, console
        self._started_s, self._first = time.perf_counter(), training.trainer.update
        self._score = "-"
        self._task = bar.add_task(
            "train", total=training.trainer.updates, completed=self._first, line=""
        )

    def update(self, progress: Learnt) -> None:
        """Move the bar after an update."""
        trainer = self._training.trainer
        played = progress.steps * (trainer.update - self._first) / trainer.update
        rate = played / (time.perf_counter() - self._started_s)
        line = (
            f"return {progress.mean_reward:.3f} | to best constant {self._score} | "
            f"{progress.steps:,} steps | {rate:,.0f} steps/s"
        )
        self._bar.update(self._task, completed=trainer.update, line=line)

    def results(self, steps: int, results: Results) -> None:
        """Print what a validation found."""
        self._score = " ".join(f"{result.difference:+.4f}" for result in results.values())
        for task_id, result in results.items():
            self._console.print(
                f"{steps:>10,} steps  {task_id}: raw {result.mean:.4f}, "
                f"to best constant {result.difference:+.4f} "
                f"[{result.low:+.4f}, {result.high:+.4f}], {result.seeds} validation seeds",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


@contextmanager
def training_bar(training: Training, console: Console) -> Iterator[Report]:
    """What shows the training while it runs."""
    columns = BarColumn(20), TaskProgressColumn(), TextColumn("{task.fields[line]}")
    bar = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    with bar:
        yield Report(training, bar, console)


def tell(card: Card, plan: Plan) -> None:
    """Print what came out."""
    print(
        f"{card.steps:,} steps in {card.wall_s:.0f} s ({card.steps_per_s:,.0f} steps/s); "
        f"best policy at {card.chosen_at_steps:,} steps"
    )
    for task_id, result in card.validation.items():
        print(
            f"{task_id}: raw {result.mean:.4f}, best constant {result.constant:.4f}, "
            f"difference {result.difference:+.4f} [{result.low:+.4f}, {result.high:+.4f}] on "
            f"{result.seeds} validation seeds"
        )
    print(f"weights: {plan.weights}")


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--task", help="a task id, with options if wanted, or all for one policy that plays all")
    add("--steps", type=_count, help=f"windows to learn from, {DEFAULT_STEPS:,} if left out")
    add("--seed", type=_seed, default=0, help="of everything random")
    add("--name", help="of the weights; the task's id, or generalist, if left out")
    add("--weights", type=Path, default=Path("weights"), help="folder of the weights")
    add("--runs", type=Path, default=Path("runs"), help="folder of checkpoints and curves")
    add("--threads", type=_count, default=1, help="threads that simulate")
    add(
        "--set",
        type=_change,
        action="append",
        default=[],
        dest="changes",
        metavar="NAME=VALUE",
        help="a number of agents/ppo/recipe.toml to replace, in JSON; may be repeated",
    )
    add("--resume", action="store_true", help="go on from the checkpoint of the same training")
    add("--smoke", action="store_true", help="a tiny training, weights under --runs")
    arguments = parser.parse_args(argv)
    if arguments.task is None and not arguments.smoke:
        parser.error("--task is needed, or --smoke")
    arguments.task = arguments.task or SMOKE_TASK
    arguments.steps = arguments.steps or (SMOKE_STEPS if arguments.smoke else DEFAULT_STEPS)
    arguments.given = list(argv)
    return arguments


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER or a list, got {text!r}") from error


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_SEED}, got {value}")
    return value


def _tell_what_nobody_waits_for(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread hands an OSError to the training, which tells it once."""
    if not isinstance(failed.exc_value, OSError):
        threading.__excepthook__(failed)


def main(argv: Sequence[str]) -> int:
    """The exit status."""
    arguments = parse_arguments(argv)
    use_folders_of_environment()
    threading.excepthook = _tell_what_nobody_waits_for
    try:
        return run(arguments)
    except (LLMServeError, OSError) as error:  # a full disk, a folder that is not ours
        print(f"train.py: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    except KeyboardInterrupt:
        print("train.py: interrupted; --resume goes on from the checkpoint", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
