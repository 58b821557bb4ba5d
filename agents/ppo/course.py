"""What a training learns on: tasks, and for each a constant that the first policy prefers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.batch import mean_rewards
from agents.knob_steps import descend, drawn_actions
from agents.knobs import KnobMenu
from agents.tuned_files import constant_for
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue

# Of the search where nobody searched before: it finds a start, not a best constant to quote.
CANDIDATES: Final = 128
SEEDS: Final = 8
STARTS: Final = 3
MAX_PASSES: Final = 3


@dataclass(frozen=True, slots=True)
class Course:
    """What a training learns on.

    Attributes:
        tasks: One, or several for one policy that plays them all.
        constants: The best constant action known for each, which the first policy prefers.
    """

    tasks: tuple[TaskSpec, ...]
    constants: tuple[ServeAction, ...]


def course_of(task_ids: Sequence[str]) -> Course:
    """Tasks, variants, traces, each on any profile; where nothing is known, a search finds a start.

    Raises:
        InvalidInputError: If a task cannot be built, or its constant is of another version.
        UnknownTaskError: If a task does not exist.
    """
    tasks = tuple(map(shipped_catalogue().get, task_ids))
    return Course(tasks, tuple(map(_constant, tasks)))


def _constant(task: TaskSpec) -> ServeAction:
    known = constant_for(task, shipped_catalogue().environment_version)
    return known if task.task_id == task.catalogue_id else good_constant(task, known)


def good_constant(task: TaskSpec, known: ServeAction) -> ServeAction:
    """A constant that no step along one knob improves by much, found in seconds on train seeds.

    Args:
        task: Any.
        known: Is tried too; its knobs must be such as the task offers, or it is left out.
    """
    menu, seeds = KnobMenu(task), split_seeds("train", SEEDS)

    def play(actions: Sequence[ServeAction], _: str) -> list[float]:
        means: list[float] = mean_rewards(task, seeds, actions).mean(axis=1).tolist()
        return means

    fits = known.quantization_tier in menu.tiers
    drawn = [task.default_action, *[known] * fits, *drawn_actions(menu, CANDIDATES)]
    scores = dict(zip(drawn, play(drawn, "drawn"), strict=True))
    starts = sorted(scores, key=lambda action: -scores[action])[:STARTS]
    found, _ = descend(menu, starts, play, max_passes=MAX_PASSES)
    return max(found, key=found.__getitem__)
