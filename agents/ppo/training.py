"""A whole training: update after update, validated now and then, the best policy kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.ppo.card import Card, write_card
from agents.ppo.checkpoint import read_checkpoint, write_checkpoint
from agents.ppo.course import Course, course_of
from agents.ppo.curve import Board, Row, write_curve
from agents.ppo.policy import Layers, Policy, encoding_hash, save_policy
from agents.ppo.recipe import Recipe
from agents.ppo.trainer import Progress, Trainer
from agents.ppo.validation import TaskResult, Validation
from llmserve_env.encoding import FEATURES
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue

Results = dict[str, TaskResult]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be trained.

    Attributes:
        task_ids: One, or several for one policy that plays them all.
        steps: Windows to learn from.
        seed: Of everything random.
        folder: Where checkpoint, curve and events go.
        weights: The .npz that the best policy goes to, its card beside it.
        command: What was run, for the card.
        threads: How many threads simulate.
    """

    task_ids: tuple[str, ...]
    steps: int
    seed: int
    folder: Path
    weights: Path
    command: str
    threads: int = 1

    @property
    def checkpoint(self) -> Path:
        """Where the training is kept."""
        return self.folder / "checkpoint.pt"


@dataclass(slots=True)
class _Kept:
    """What a training remembers beside the trainer; owned by Training alone."""

    layers: Layers | None = None
    results: Results | None = None
    steps: int = 0
    seconds: float = 0.0


class Training:
    """One training from start, or from its checkpoint, to its weights.

    Attributes:
        trainer: What learns.
        rows: The learning curve, a row per validation.
    """

    def __init__(
        self, plan: Plan, recipe: Recipe, *, resume: bool = False, course: Course | None = None
    ) -> None:
        """Set up, and go back to the checkpoint if it is to be resumed.

        Args:
            plan: What is to be trained.
            recipe: How.
            resume: Whether to go on from the checkpoint.
            course: The plan's tasks, if they are not in the catalogue.

        Raises:
            InvalidInputError: If a task cannot be built, or the checkpoint is missing or of another
                training.
            UnknownTaskError: If a task does not exist.
        """
        course = course_of(plan.task_ids) if course is None else course
        tasks, constants = course.tasks, course.constants
        self.plan, self.recipe, self.rows = plan, recipe, list[Row]()
        self._version, self._kept = shipped_catalogue().environment_version, _Kept()
        self.trainer = Trainer(
            tasks, constants, recipe, steps=plan.steps, seed=plan.seed, threads=plan.threads
        )
        if resume:
            self._take_up()
        self._validation = Validation(
            tasks, constants, recipe.kv, seeds=recipe.validation_seeds, threads=plan.threads
        )

    def run(
        self,
        *,
        on_update: Callable[[Progress], None] = lambda _: None,
        on_results: Callable[[int, Results], None] = lambda *_: None,
    ) -> Card:
        """Train to the end, write the best policy and return its card.

        Args:
            on_update: Called after every update.
            on_results: Called with the steps and the results of every validation.

        Raises:
            OSError: If a file cannot be written.
        """
        trainer, started_s = self.trainer, time.perf_counter() - self._kept.seconds
        last = self._last_validated()
        board = Board(self.plan.folder, from_step=trainer.update * self._round)
        while trainer.update < trainer.updates:
            progress = trainer.learn()
            on_update(progress)
            is_due = trainer.update - last >= max(1, trainer.updates // self.recipe.validations)
            if (is_due and trainer.at_start) or trainer.update == trainer.updates:
                last = trainer.update
                self._kept.seconds = time.perf_counter() - started_s
                on_results(progress.steps, self._validate(progress, board))
            board.add(progress.steps, _scalars(progress))
        board.close()
        trainer.close()
        self._validation.close()
        self._kept.seconds = time.perf_counter() - started_s
        return self._finish()

    @property
    def _round(self) -> int:
        """Windows of an update."""
        return self.trainer.environments * self.recipe.windows_per_update

    def _last_validated(self) -> int:
        return int(self.rows[-1]["steps"]) // self._round if self.rows else 0

    def _validate(self, progress: Progress, board: Board) -> Results:
        """Play the validation seeds, keep the policy if it is the best so far, save all."""
        policy, kept = self.trainer.policy(), self._kept
        results = self._validation.play(policy)
        if kept.results is None or _merit(results) > _merit(kept.results):
            kept.layers, kept.results, kept.steps = policy.layers, results, progress.steps
        row = _scalars(progress) | {
            f"{task_id}/{name}": getattr(result, name)
            for task_id, result in results.items()
            for name in ("mean", "constant", "difference", "low", "high")
        }
        self.rows.append({"steps": progress.steps, "wall_s": kept.seconds} | row)
        board.add(progress.steps, row)
        write_curve(self.plan.folder / "curve.csv", self.rows)
        if self.trainer.at_start:
            self._save()
        return results

    def _save(self) -> None:
        kept = self._kept
        layers, results = kept.layers or (), kept.results or {}
        content = {
            "identity": self._identity(),
            "trainer": self.trainer.state(),
            "rows": self.rows,
            "layers": [torch.from_numpy(array) for array in layers],
            "results": {name: result.model_dump() for name, result in results.items()},
            "steps": kept.steps,
            "seconds": kept.seconds,
        }
        write_checkpoint(self.plan.checkpoint, content)

    def _take_up(self) -> None:
        content = read_checkpoint(self.plan.checkpoint)
        if content["identity"] != self._identity():
            raise InvalidInputError(
                f"{self.plan.checkpoint} is of {content['identity']}, "
                f"this training is {self._identity()}"
            )
        self.trainer.restore(content["trainer"])
        self.rows = content["rows"]
        self._kept = _Kept(
            layers=Layers(*(tensor.numpy() for tensor in content["layers"])),
            results={
                name: TaskResult.model_validate(result)
                for name, result in content["results"].items()
            },
            steps=content["steps"],
            seconds=content["seconds"],
        )

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be this training's."""
        return {
            "environment_version": self._version,
            "encoding_hash": encoding_hash(),
            "tasks": list(self.plan.task_ids),
            "steps": self.plan.steps,
            "seed": self.plan.seed,
            "recipe": self.recipe.model_dump(mode="json"),
        }

    def _finish(self) -> Card:
        kept, plan = self._kept, self.plan
        if kept.layers is None or kept.results is None:
            raise InvalidInputError(f"{plan.checkpoint}: nothing was validated; train it anew")
        steps = self.trainer.updates * self._round
        card = Card(
            environment_version=self._version,
            encoding_hash=encoding_hash(),
            features=len(FEATURES),
            tasks=plan.task_ids,
            seed=plan.seed,
            steps=steps,
            chosen_at_steps=kept.steps,
            wall_s=round(kept.seconds, 1),
            steps_per_s=round(steps / kept.seconds, 1),
            validation=kept.results,
            command=plan.command,
            libraries={"torch": torch.__version__, "numpy": np.__version__},
            recipe=self.recipe,
        )
        policy = Policy(kept.layers, self.recipe.kv)
        save_policy(plan.weights, policy, environment_version=self._version)
        write_card(plan.weights, card)
        return card


def _merit(results: Results) -> float:
    """What the best policy is chosen by: how far above the constants, tasks weighing alike."""
    return sum(result.difference for result in results.values()) / len(results)


def _scalars(progress: Progress) -> Row:
    return {"train/mean_reward": progress.mean_reward} | {
        f"train/{name}": value for name, value in progress.statistics._asdict().items()
    }
