"""What benchmark_speed.py times of learning: our PPO, and stable-baselines3's on CartPole."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import torch

from agents.ppo.recipe import Recipe, shipped_recipe
from agents.ppo.trainer import Trainer
from agents.ppo.validation import Validation
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.speed_cases import CARTPOLE
from scripts.vector_speed import THREADS, Spell, best_constants, clocked

SB3: Final = "stable_baselines3"
CARTPOLES: Final = 64
MILLION: Final = 1_000_000
ALL: Final = "all tasks"


@dataclass(frozen=True, slots=True)
class LearningTiming:
    """Repeats of one measurement of a training.

    Attributes:
        case: What was trained.
        per_s: Steps learnt from per wall second, one per repeat, validation left out.
        per_cpu_s: The same per CPU second, of all threads together.
        validation_s: Wall seconds of one validation, one per repeat; empty where there is none.
        ratios: per_cpu_s over that of stable-baselines3 in the same repeat; empty without it.
    """

    case: str
    per_s: tuple[float, ...]
    per_cpu_s: tuple[float, ...]
    validation_s: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def million_s(self) -> float:
        """Seconds of a million steps, with the validations that a training has; computed."""
        learning_s = MILLION / statistics.median(self.per_s)
        if not self.validation_s:
            return learning_s
        return learning_s + shipped_recipe().validations * statistics.median(self.validation_s)


class OurTraining:
    """PPO on some tasks as train.py runs it: what learns, and what validates."""

    def __init__(self, tasks: Sequence[TaskSpec], recipe: Recipe, *, threads: int = 1) -> None:
        """Start from the best constants; one update compiles and warms up.

        Raises:
            InvalidInputError: If no best constant is known for a task.
        """
        constants = best_constants(tasks)
        self.trainer = Trainer(tasks, constants, recipe, steps=MILLION, seed=0, threads=threads)
        self.validation = Validation(
            tasks, constants, recipe.kv, seeds=recipe.validation_seeds, threads=threads
        )
        # Whole episodes, so that new ones are dealt out as often as in a long training.
        self._updates = -(-max(task.windows for task in tasks) // recipe.windows_per_update)
        self._windows = self.trainer.environments * recipe.windows_per_update
        self.trainer.learn()

    def learn(self) -> int:
        """Learn for an episode's length; how many steps that were."""
        for _ in range(self._updates):
            self.trainer.learn()
        return self._updates * self._windows

    def validate(self) -> int:
        """Validate the policy once."""
        self.validation.play(self.trainer.policy())
        return 1


def learning_timings(repeats: int) -> list[LearningTiming]:
    """Stable-baselines3 on CartPole if it is installed, PPO on every task and on all of them.

    Both learn with the same count of minibatches, of equally many steps each; one thread of torch.
    """
    torch.set_num_threads(1)
    recipe = shipped_recipe()
    peer = None if find_spec(SB3) is None else _peer(recipe)
    tasks = shipped_catalogue().tasks
    cases = {task.task_id: (task,) for task in tasks} | {ALL: tasks}
    rows = []
    if peer is not None:
        spells = [clocked(peer) for _ in range(repeats)]
        rows.append(_timing(f"{SB3} PPO, {CARTPOLE} x {CARTPOLES}", spells, spells))
    for name, played in cases.items():
        for threads in THREADS:
            case = f"{name}, {threads} thread{'s'[: threads - 1]}"
            training = OurTraining(played, recipe, threads=threads)
            rows.append(_timed(case, training, repeats, peer))
            training.trainer.close()
    return rows


def learning_rows(timings: Sequence[LearningTiming]) -> list[str]:
    """The timings as a Markdown table."""
    return [
        "| training | steps/s | least | most | per CPU s | validation, s | 1M steps, s | ratio |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(timing) for timing in timings),
    ]


def _timed(
    case: str, training: OurTraining, repeats: int, peer: Callable[[], int] | None
) -> LearningTiming:
    learnt, validated, peers = list[Spell](), list[Spell](), list[Spell]()
    for _ in range(repeats):
        if peer is not None:
            peers.append(clocked(peer))
        learnt.append(clocked(training.learn))
        validated.append(clocked(training.validate))
    return _timing(case, learnt, peers, validated)


def _timing(
    case: str, learnt: Sequence[Spell], peers: Sequence[Spell], validated: Sequence[Spell] = ()
) -> LearningTiming:
    per_cpu_s = tuple(_per_cpu_s(learnt))
    return LearningTiming(
        case=case,
        per_s=tuple(spell.units / spell.wall_s for spell in learnt),
        per_cpu_s=per_cpu_s,
        validation_s=tuple(spell.wall_s for spell in validated),
        ratios=tuple(
            rate / base for rate, base in zip(per_cpu_s, _per_cpu_s(peers), strict=bool(peers))
        ),
    )


def _per_cpu_s(spells: Sequence[Spell]) -> Iterator[float]:
    return (spell.units / spell.cpu_s for spell in spells)


def _peer(recipe: Recipe) -> Callable[[], int]:
    """An update of stable-baselines3's PPO: a call returns how many steps it learnt from."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    windows = recipe.windows // CARTPOLES
    steps = windows * CARTPOLES
    model: Any = PPO(
        "MlpPolicy",
        make_vec_env(CARTPOLE, n_envs=CARTPOLES, seed=0),
        n_steps=windows,
        batch_size=steps // recipe.minibatches,
        n_epochs=recipe.epochs,
        seed=0,
        device="cpu",
    )

    def update() -> int:
        model.learn(total_timesteps=steps)
        return steps

    update()  # warms up
    return update


def _row(timing: LearningTiming) -> str:
    median = statistics.median
    validation = f"{median(timing.validation_s):.2f}" if timing.validation_s else "-"
    ratio = f"{median(timing.ratios):.3f}" if timing.ratios else "-"
    return (
        f"| {timing.case} | {median(timing.per_s):,.0f} | {min(timing.per_s):,.0f} "
        f"| {max(timing.per_s):,.0f} | {median(timing.per_cpu_s):,.0f} | {validation} "
        f"| {timing.million_s:.0f} | {ratio} |"
    )
