"""Plays many independent jobs: in this process, in several of this machine, or on a Ray cluster.

What comes back does not depend on where it was played: a job gets what it needs as its argument,
and its result is handed over once, however often a worker that was lost made it start again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar, get_args

from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.traces import traces_folder, use_traces_folder
from simulator.profile_files import profiles_folder, use_profiles_folder

Item = TypeVar("Item")
Result = TypeVar("Result")
Place = Literal["processes", "ray"]

PLACES: Final[tuple[Place, ...]] = get_args(Place)
# So often in a row may workers be lost without a single result in between.
MOST_LOSSES: Final = 3
LOG: Final = logging.getLogger(__name__)


class WorkersLostError(LLMServeError):
    """Workers were lost again and again, so that a job could not be finished."""

    http_status = 500
    code = "WORKERS_LOST"


@dataclass(frozen=True, slots=True)
class Workers:
    """Where jobs are played.

    Attributes:
        processes: How many of this machine; 1 plays in this one. Ray takes what its cluster has.
        place: `processes` or `ray`.
        address: Of the Ray cluster: `auto` is the one that runs here, `local` starts one.
    """

    processes: int = 1
    place: Place = "processes"
    address: str = "auto"


IN_PROCESS: Final = Workers()


@dataclass(frozen=True, slots=True)
class Folders:
    """Where imported traces and the user's GPU profiles lie."""

    traces: Path
    profiles: Path

    @staticmethod
    def here() -> Folders:
        """Those of this process."""
        return Folders(traces_folder(), profiles_folder())

    def use(self) -> None:
        """Look there in this process, too."""
        use_traces_folder(self.traces)
        use_profiles_folder(self.profiles)


class Pool(Protocol):
    """What plays jobs."""

    def completed(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """The index of every item and its result, each once, in the order in which they come.

        Args:
            work: A function of a module, so that other processes find it by its name.
            items: Of what can be pickled.

        Raises:
            WorkersLostError: If workers are lost again and again.
        """


@contextmanager
def open_pool(workers: Workers, *, jobs: int | None = None) -> Iterator[Pool]:
    """Workers for the time of a block; on the way out of a failure or an interrupt they end.

    Args:
        workers: Where they are.
        jobs: How many jobs there will be, if that is known: no more processes are started.

    Raises:
        InvalidInputError: If there is no process to play, or no cluster that can be used.
    """
    if workers.processes < 1:
        raise InvalidInputError(f"processes must be at least 1, got {workers.processes}")
    if workers.place == "ray":
        # Ray is an extra.
        from agents.ray_pool import ray_pool

        with ray_pool(workers.address) as cluster:
            yield cluster
        return
    count = workers.processes if jobs is None else min(workers.processes, jobs)
    if count <= 1:
        yield _Here()
        return
    with _Processes(count) as pool:
        yield pool


def in_order(pairs: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """The results by index; one that comes early waits for those before it."""
    early: dict[int, Result] = {}
    following = 0
    for index, result in pairs:
        early[index] = result
        while following in early:
            yield early.pop(following)
            following += 1


def add_worker_options(parser: ArgumentParser, *, processes_option: str = "--jobs") -> None:
    """Let a program's user say where its jobs are played; `workers_of` reads it."""
    parser.add_argument(
        processes_option,
        dest="processes",
        type=_count,
        default=os.cpu_count() or 1,
        help="processes of this machine",
    )
    parser.add_argument(
        "--parallel", choices=PLACES, default="processes", help="or a cluster of Ray, an extra"
    )
    parser.add_argument(
        "--address", default="auto", help="of the Ray cluster: auto, local, HOST:PORT or ray://"
    )


def workers_of(arguments: Namespace) -> Workers:
    """What the user said."""
    return Workers(arguments.processes, arguments.parallel, arguments.address)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"must be at least 1, got {value}")
    return value


class _Here:
    """Plays in this process."""

    def completed(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        return enumerate(map(work, items))


class _Processes:
    """Plays in processes of this machine; those that die are replaced and their jobs repeated."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._strangers = set(multiprocessing.active_children())
        self._executor = self._started()

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:
            self._terminate()
        self._executor.shutdown(cancel_futures=failure is not None)

    def completed(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        left = dict(enumerate(items))
        losses = 0
        while left:
            try:
                for index, result in self._round(work, left):
                    losses = 0
                    del left[index]
                    yield index, result
            except BrokenProcessPool as error:
                losses += 1
                self._replace()
                if losses >= MOST_LOSSES:
                    raise WorkersLostError(
                        f"a process died {losses} times in a row without a result between, "
                        f"{len(left)} jobs left: out of memory? fewer processes need less"
                    ) from error
                LOG.warning("a process died; %d jobs are played anew", len(left))

    def _round(
        self, work: Callable[[Item], Result], items: dict[int, Item]
    ) -> Iterator[tuple[int, Result]]:
        futures = {self._executor.submit(work, item): index for index, item in items.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _started(self) -> ProcessPoolExecutor:
        # Spawned, not forked: a forked child of a threaded process may wait for ever.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(
            self._count, mp_context=context, initializer=_start_child, initargs=(Folders.here(),)
        )

    def _replace(self) -> None:
        self._terminate()
        self._executor.shutdown(cancel_futures=True)
        self._executor = self._started()

    def _terminate(self) -> None:
        for child in set(multiprocessing.active_children()) - self._strangers:
            child.terminate()


def _start_child(folders: Folders) -> None:
    """Look for files where the parent does; leave Ctrl-C to it, which ends its children."""
    folders.use()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed ends nobody, and its children would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
