"""What a training learns on: tasks, and for each a constant that the first policy prefers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.batch import mean_rewards
from agents.knob_steps import drawn_actions, neighbours
from agents.knobs import KnobMenu
from agents.tuned_files import constant_for
from llmserve_env.models import KNOBS, ServeAction
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
    scores: dict[ServeAction, float] = {}

    def learn(actions: Sequence[ServeAction]) -> None:
        new = [action for action in dict.fromkeys(actions) if action not in scores]
        if new:
            scores.update(zip(new, mean_rewards(task, seeds, new).mean(axis=1), strict=True))

    fits = known.quantization_tier in menu.tiers
    learn([task.default_action, *[known] * fits, *drawn_actions(menu, CANDIDATES)])
    current = sorted(scores, key=lambda action: -scores[action])[:STARTS]
    for fine in (False, True):
        for _ in range(MAX_PASSES):
            before = list(current)
            for knob in filter(menu.moves, KNOBS):
                groups = [neighbours(menu, action, knob, fine=fine) for action in current]
                learn([action for group in groups for action in group])
                current = [
                    max([action, *group], key=scores.__getitem__)
                    for action, group in zip(current, groups, strict=True)
                ]
            if current == before:
                break
    return max(current, key=scores.__getitem__)
