"""What the searches over agents' settings share: worker processes, a progress bar, a count."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from agents.batch import Batch
from agents.tuned_files import Choice, File, read_tuned, write_tuned
from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.engine import action_row

Candidate = TypeVar("Candidate")
Scorer = Callable[[TaskSpec, tuple[int, ...], Candidate], float]

# Chunks keep both workers busy to the end without sending every candidate on its own.
CHUNK = 8


class Crew:
    """Worker processes that score candidates.

    Attributes:
        windows: How many windows were simulated so far.
    """

    def __init__(self, executor: ProcessPoolExecutor, progress: Progress) -> None:
        """Take the processes and the bar."""
        self.windows = 0
        self._executor, self._progress = executor, progress

    def scores(
        self,
        scorer: Scorer[Candidate],
        task: TaskSpec,
        seeds: tuple[int, ...],
        candidates: Sequence[Candidate],
        *,
        label: str,
    ) -> list[float]:
        """The mean raw score of every candidate on these seeds, in their order."""
        bar = self._progress.add_task(f"{task.task_id}: {label}", total=len(candidates))
        starts = {
            self._executor.submit(
                _score_chunk, scorer, task, seeds, candidates[start : start + CHUNK]
            ): start
            for start in range(0, len(candidates), CHUNK)
        }
        scores = [0.0] * len(candidates)
        for future in as_completed(starts):
            chunk, start = future.result(), starts[future]
            scores[start : start + len(chunk)] = chunk
            self._progress.advance(bar, len(chunk))
        self._progress.remove_task(bar)
        self.windows += len(candidates) * len(seeds) * task.windows
        return scores


@contextmanager
def crew(processes: int) -> Iterator[Crew]:
    """Workers and a progress bar for the time of a search."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"))
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(processes, mp_context=context) as executor,
        Progress(*columns, TimeElapsedColumn()) as progress,
    ):
        yield Crew(executor, progress)


def search_tasks(
    kind: type[File],
    tasks: Sequence[TaskSpec],
    *,
    processes: int,
    search: Callable[[Crew, TaskSpec], Choice[Any]],
) -> None:
    """Search for these tasks, and print and write what was found, task by task.

    Args:
        kind: The file that holds it.
        tasks: What is searched for.
        processes: How many score.
        search: The choice for a task.
    """
    version = shipped_catalogue().environment_version
    with crew(processes) as workers:
        for task in tasks:
            choice = search(workers, task)
            tuned = read_tuned(kind)
            write_tuned(tuned.with_choice(version, task.task_id, choice))
            print(task.task_id, choice.model_dump_json(indent=1))


def score_action(task: TaskSpec, seeds: tuple[int, ...], action: ServeAction) -> float:
    """The mean raw score of a constant action on these seeds."""
    return float(_batch(task, seeds).play(action_row(action)).mean())


def _score_chunk(
    scorer: Scorer[Candidate],
    task: TaskSpec,
    seeds: tuple[int, ...],
    candidates: Sequence[Candidate],
) -> list[float]:
    return [scorer(task, seeds, candidate) for candidate in candidates]


@lru_cache(maxsize=4)
def _batch(task: TaskSpec, seeds: tuple[int, ...]) -> Batch:
    return Batch(task, seeds)
