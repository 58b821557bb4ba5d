"""What a benchmark plays, and the episodes that it keeps as they are played."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from agents.evaluation import EpisodeRecord, Job, check_jobs, play_whole_job
from agents.fingerprints import agent_digest, brought_digest
from agents.kept_rows import KeptRows
from agents.parallel import Workers, open_pool
from llmserve_env.submission_file import action_values
from llmserve_env.tasks import shipped_catalogue

FILE_NAME: Final = "episodes.jsonl"


class Kept(NamedTuple):
    """The key of an episode: the same job under other sources is another episode."""

    agent: str
    digest: str
    task_id: str
    seed: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Every agent on every task and seed.

    Attributes:
        agents: Names, as the registry knows them.
        task_ids: Tasks and variants.
        seeds: Of episodes and their traffic, the same for all.
        digests: By agent, of the sources and files that its episodes depend on.
        brought: By task, of what its user brought: a trace, a profile; empty if nothing.
    """

    agents: tuple[str, ...]
    task_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    digests: dict[str, str]
    brought: dict[str, str]

    @staticmethod
    def of(agents: Sequence[str], task_ids: Sequence[str], seeds: Sequence[int]) -> Grid:
        """The grid under the sources as they are now."""
        digests = {name: agent_digest(name) for name in agents}
        brought = {task_id: brought_digest(task_id) for task_id in task_ids}
        return Grid(tuple(agents), tuple(task_ids), tuple(seeds), digests, brought)

    def keys(self) -> list[Kept]:
        """All episodes: the agents fastest, so that a run that is cut has them all compared."""
        return [
            self.key(agent, task_id, seed)
            for seed, task_id, agent in product(self.seeds, self.task_ids, self.agents)
        ]

    def key(self, agent: str, task_id: str, seed: int) -> Kept:
        """The key of one of them."""
        return Kept(agent, self.digests[agent] + self.brought[task_id], task_id, seed)


def open_kept(folder: Path) -> KeptRows[Kept]:
    """The episodes that are kept in a folder.

    Raises:
        InvalidInputError: If the file is no such file, or another run has it.
    """
    return KeptRows(
        folder / FILE_NAME,
        lambda row: Kept(*(row[name] for name in Kept._fields)),
    )


def play_grid(
    grid: Grid,
    kept: KeptRows[Kept],
    *,
    workers: Workers,
    on_episode: Callable[[object], object],
) -> int:
    """Play what is not kept yet, keep it at once, and say how many episodes that were.

    Raises:
        LLMServeError: If an agent or a task does not exist, or an agent cannot play a task; before
            anything is played.
        InvalidInputError: If an agent does what is not allowed.
    """
    missing = [key for key in grid.keys() if key not in kept]  # noqa: SIM118
    jobs = [Job(key.agent, key.task_id, key.seed) for key in missing]
    check_jobs(jobs)
    version = shipped_catalogue().environment_version
    with open_pool(workers, jobs=len(jobs)) as pool:
        for index, played in pool.completed(play_whole_job, jobs):
            actions = [action_values(action) for action in played.actions]
            row = {"digest": missing[index].digest, "environment_version": version}
            kept.add(row | asdict(played.record) | {"actions": actions})
            on_episode(played)
    return len(jobs)


def records_of(grid: Grid, kept: KeptRows[Kept]) -> list[EpisodeRecord]:
    """The records of all episodes of a grid that was played."""
    fields = EpisodeRecord.__slots__
    return [EpisodeRecord(**{name: row[name] for name in fields}) for row in rows_of(grid, kept)]


def rows_of(grid: Grid, kept: KeptRows[Kept]) -> Iterator[dict[str, Any]]:
    """All episodes of a grid that was played, by agent, then task, then seed."""
    for agent, task_id, seed in product(grid.agents, grid.task_ids, grid.seeds):
        yield kept[grid.key(agent, task_id, seed)]
