"""Searches the best constant action of a task and writes agents/data/best_constants.json.

    python -m scripts.search_constants [--task ID|all|variants] [--candidates 512] [--processes 2]

A scrambled Sobol sequence over the active knobs is screened on training seeds, on few at first so
that hopeless actions cost little; the best are improved knob by knob; the finalists are compared on
more training seeds, and validation seeds choose among them. Test seeds are never touched. What is
found for variants goes to agents/data/variant_constants.json; the best constant of their task takes
part, and `--times-seeds 4` is right for them, because their episodes differ more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

import numpy as np

from agents.knob_steps import descend, drawn_actions
from agents.knobs import KnobMenu
from agents.parallel import add_worker_options, workers_of
from agents.tuned_files import (
    BestConstants,
    Choice,
    Provenance,
    VariantConstants,
    constant_for,
)
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from scripts.search_tools import Crew, score_action, search_tasks

SCREENING_SEEDS: Final = (4, 16)
# Share of the candidates that the second screening sees.
SURVIVORS: Final = 0.3
STARTS: Final = 6
FINAL_TRAIN_SEEDS: Final = 48
VALIDATION_SEEDS: Final = 64
MAX_PASSES: Final = 6


def search(
    workers: Crew,
    task: TaskSpec,
    candidates: int,
    *,
    times_seeds: int = 1,
    starts: Sequence[ServeAction] = (),
) -> Choice[ServeAction]:
    """The best constant action of a task and how it was found.

    Args:
        workers: Who play.
        task: What is played.
        candidates: How many actions are drawn.
        times_seeds: Every comparison is on so many times its usual count of seeds: where episodes
            differ by much, few of them choose what is best on these few.
        starts: Actions that are improved and compared whatever the screening makes of them.
    """
    menu, windows_before = KnobMenu(task), workers.windows
    actions = drawn_actions(menu, candidates)
    tried = len(actions)
    for count, kept in zip(SCREENING_SEEDS, (SURVIVORS * len(actions), STARTS), strict=True):
        seeds = split_seeds("train", count * times_seeds)
        scores = workers.scores(score_action, task, seeds, actions, label=f"screen on {len(seeds)}")
        best = np.argsort(scores)[::-1][: max(int(kept), STARTS)]
        actions = [actions[index] for index in best]
    actions = [*actions, *(start for start in starts if start not in actions)]
    found, moves = descend(
        menu,
        actions,
        lambda new, label: workers.scores(score_action, task, seeds, new, label=label),
        max_passes=MAX_PASSES,
    )
    finalists = list(dict.fromkeys([*found, *starts]))
    seeds = split_seeds("train", FINAL_TRAIN_SEEDS * times_seeds)
    train = workers.scores(score_action, task, seeds, finalists, label="finalists")
    seeds = split_seeds("validation", VALIDATION_SEEDS * times_seeds)
    validation = workers.scores(score_action, task, seeds, finalists, label="validation")
    chosen = int(np.argmax(validation))
    return Choice[ServeAction](
        chosen=finalists[chosen],
        provenance=Provenance(
            command=f"python -m scripts.search_constants --task {task.task_id} "
            f"--candidates {candidates}" + (f" --times-seeds {times_seeds}" * (times_seeds > 1)),
            train_seeds=FINAL_TRAIN_SEEDS * times_seeds,
            validation_seeds=VALIDATION_SEEDS * times_seeds,
            candidates=tried + moves,
            windows=workers.windows - windows_before,
            train_mean=train[chosen],
            validation_mean=validation[chosen],
            finalists=tuple(sorted(validation, reverse=True)),
        ),
    )


def _known_constants(task: TaskSpec, catalogue: Catalogue) -> list[ServeAction]:
    """For a variant the best constant of its task, which must not beat what is found."""
    if task.variant_of is None:
        return []
    return [constant_for(catalogue.get(task.variant_of), catalogue.environment_version)]


def main() -> None:
    """Search, print what was found, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="all", help="a task's or variant's id, all or variants")
    parser.add_argument("--candidates", type=int, default=512, help="actions that are drawn")
    parser.add_argument("--times-seeds", type=int, default=1, help="times the usual seeds")
    add_worker_options(parser, processes_option="--processes")
    arguments = parser.parse_args()
    catalogue = shipped_catalogue()
    groups = {"all": catalogue.tasks, "variants": catalogue.variants}
    tasks = groups.get(arguments.task) or (catalogue.get(arguments.task),)
    search_tasks(
        BestConstants if tasks[0].variant_of is None else VariantConstants,
        tasks,
        workers=workers_of(arguments),
        search=lambda workers, task: search(
            workers,
            task,
            arguments.candidates,
            times_seeds=arguments.times_seeds,
            starts=_known_constants(task, catalogue),
        ),
    )


if __name__ == "__main__":
    main()
