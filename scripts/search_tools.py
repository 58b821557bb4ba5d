"""What the searches over agents' settings share: workers, a progress bar, a count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from agents.batch import Batch
from agents.parallel import Pool, Workers, open_pool
from agents.tuned_files import Choice, File, read_tuned, write_tuned
from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.engine import action_row

Candidate = TypeVar("Candidate")
Scorer = Callable[[TaskSpec, tuple[int, ...], Candidate], float]

# Chunks keep all workers busy to the end without sending every candidate on its own.
CHUNK = 8


class Crew:
    """Workers that score candidates.

    Attributes:
        windows: How many windows were simulated so far.
    """

    def __init__(self, pool: Pool, progress: Progress) -> None:
        """Take the workers and the bar."""
        self.windows = 0
        self._pool, self._progress = pool, progress

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
        chunks = [
            _Chunk(scorer, task, seeds, tuple(candidates[start : start + CHUNK]))
            for start in range(0, len(candidates), CHUNK)
        ]
        scores = [0.0] * len(candidates)
        for index, found in self._pool.completed(_score_chunk, chunks):
            scores[index * CHUNK : index * CHUNK + len(found)] = found
            self._progress.advance(bar, len(found))
        self._progress.remove_task(bar)
        self.windows += len(candidates) * len(seeds) * task.windows
        return scores


@contextmanager
def crew(workers: Workers) -> Iterator[Crew]:
    """Workers and a progress bar for the time of a search."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"))
    with open_pool(workers) as pool, Progress(*columns, TimeElapsedColumn()) as progress:
        yield Crew(pool, progress)


def search_tasks(
    kind: type[File],
    tasks: Sequence[TaskSpec],
    *,
    workers: Workers,
    search: Callable[[Crew, TaskSpec], Choice[Any]],
) -> None:
    """Search for these tasks, and print and write what was found, task by task.

    Args:
        kind: The file that holds it.
        tasks: What is searched for.
        workers: Who score.
        search: The choice for a task.
    """
    version = shipped_catalogue().environment_version
    with crew(workers) as scorers:
        for task in tasks:
            choice = search(scorers, task)
            tuned = read_tuned(kind)
            write_tuned(tuned.with_choice(version, task.task_id, choice))
            print(task.task_id, choice.model_dump_json(indent=1))


def score_action(task: TaskSpec, seeds: tuple[int, ...], action: ServeAction) -> float:
    """The mean raw score of a constant action on these seeds."""
    return float(_batch(task, seeds).play(action_row(action)).mean())


@dataclass(frozen=True, slots=True)
class _Chunk(Generic[Candidate]):
    """Candidates that one worker scores in turn."""

    scorer: Scorer[Candidate]
    task: TaskSpec
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...]


def _score_chunk(chunk: _Chunk[Candidate]) -> list[float]:
    return [chunk.scorer(chunk.task, chunk.seeds, each) for each in chunk.candidates]


@lru_cache(maxsize=4)
def _batch(task: TaskSpec, seeds: tuple[int, ...]) -> Batch:
    return Batch(task, seeds)
