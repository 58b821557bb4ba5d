"""Plays jobs on a Ray cluster: one task a job, repeated where a worker or a node was lost.

Needs the extra `ray`. Every node needs this project, of the same content, and what it depends on.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from agents.fingerprints import sources_digest
from agents.parallel import Folders, WorkersLostError
from llmserve_env.errors import InvalidInputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# So often a task is repeated whose worker or node was lost.
RETRIES: Final = 10
# More tasks than that do not wait in the cluster at once.
MOST_SUBMITTED: Final = 1_000
LOOPBACK: Final = ("127.0.0.1", "localhost")
CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a worker must share with who asks it.

    Attributes:
        digest: Of the sources that results depend on.
        folder: Where relative paths start, if the worker's machine has it.
        folders: Of traces and profiles, likewise.
    """

    digest: str
    folder: Path
    folders: Folders


class RayPool:
    """Plays on the cluster that this process is connected to."""

    def __init__(self, ray: ModuleType) -> None:
        """Take the connected module."""
        self._ray: Any = ray
        self._setting = Setting(sources_digest(), Path.cwd(), Folders.here())
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(_play_on_worker)

    def completed(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """As `agents.parallel.Pool` says."""
        waiting = iter(enumerate(items))
        running: dict[Any, int] = {}
        try:
            while True:
                while len(running) < MOST_SUBMITTED and (entry := next(waiting, None)) is not None:
                    index, item = entry
                    running[self._task.remote(self._setting, work, item)] = index
                if not running:
                    return
                done, _ = self._ray.wait(list(running), num_returns=1)
                for reference in done:
                    index = running.pop(reference)
                    yield index, self._result(reference)
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        failures = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except failures.RayTaskError as error:
            # What the job itself raised, without Ray's account of where.
            raise error.cause from None
        except (
            failures.WorkerCrashedError,
            failures.NodeDiedError,
            failures.OutOfMemoryError,
            failures.ObjectLostError,
        ) as error:
            reason = str(error).partition("\n")[0]
            raise WorkersLostError(f"a job was lost {RETRIES + 1} times: {reason}") from error


@contextmanager
def ray_pool(address: str) -> Iterator[RayPool]:
    """A connection to the cluster at this address for the time of a block.

    Raises:
        InvalidInputError: If Ray is not installed, or no cluster is there.
    """
    try:
        import ray
    except ImportError as error:
        raise InvalidInputError(
            "--parallel ray needs the extra `ray`, as in uv sync --extra ray"
        ) from error
    was_connected = ray.is_initialized()
    if not was_connected:
        _check_answers(ray, address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidInputError(
                f"--address: no Ray cluster at {address!r}: {reason} "
                "(`ray start --head` starts one here)"
            ) from error
    try:
        yield RayPool(ray)
    finally:
        if not was_connected:
            ray.shutdown()


def _check_answers(ray: ModuleType, address: str) -> None:
    """Ray itself waits for minutes for a head that is not there, and then ends the process.

    Raises:
        InvalidInputError: If the address, or what `auto` stands for, refuses connections.
    """
    named = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = named.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    # A head on this machine may listen under the machine's own address alone.
    hosts = [host, ray.util.get_node_ip_address()] if host in LOOPBACK else [host]
    reason: Exception | None = None
    for each in hosts:
        try:
            socket.create_connection((each, int(port)), CONNECT_TIMEOUT_S).close()
        except (OSError, OverflowError) as error:
            reason = error
        else:
            return
    raise InvalidInputError(f"--address: nobody answers at {named}: {reason}")


def _play_on_worker(setting: Setting, work: Callable[[Item], Result], item: Item) -> Result:
    """Runs in a worker."""
    _prepare(setting)
    return work(item)


@cache
def _prepare(setting: Setting) -> None:
    """Once a worker.

    Raises:
        InvalidInputError: If the worker's machine has other sources: numbers could differ.
    """
    own = sources_digest()
    if own != setting.digest:
        raise InvalidInputError(
            f"a node of the cluster has other sources of this project ({own}, not "
            f"{setting.digest}): bring all nodes to one version"
        )
    if setting.folder.is_dir():
        os.chdir(setting.folder)
    setting.folders.use()
