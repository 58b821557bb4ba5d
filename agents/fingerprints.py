"""Names for the content of all that an episode's result depends on."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from llmserve_env.tasks import shipped_catalogue
from llmserve_env.workloads import Replay, Stream
from simulator.hardware import load_profile, profile_names

ROOT: Final = Path(__file__).resolve().parent.parent
# By folder what is of no account: it draws, or speaks with others.
FOLDERS: Final = ("llmserve_env", "simulator", "agents", "weights")
LEFT_OUT: Final = ("llmserve_env/charts", "agents/parallel.py", "agents/ray_pool.py")
ENDINGS: Final = (".py", ".toml", ".json", ".npz", ".parquet")


@cache
def sources_digest() -> str:
    """A name for the content of the simulator, the tasks, the agents and the weights."""
    digest = hashlib.blake2s(digest_size=8)
    for path in _sources():
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def agent_digest(name: str) -> str:
    """A name for the content of the sources and of the file that an agent's name points at.

    Of `module:Class` that is the module's file alone; what it imports is not looked at.
    """
    own = _own_file(name)
    if own is None:
        return sources_digest()
    return _digest(sources_digest().encode() + own.read_bytes())


def profile_digest(name: str) -> str:
    """A name for the content of a GPU profile; of a user's it changes with the file.

    Raises:
        InvalidInputError: As load_profile.
    """
    return _digest(repr(load_profile(name)).encode())


def brought_digest(task_id: str) -> str:
    """A name for what a task is made of that its user brought; empty if that is nothing.

    Raises:
        LLMServeError: If there is no such task, trace or profile.
    """
    task = shipped_catalogue().get(task_id)
    profile, brought = task.deployment.profile, []
    if profile not in profile_names():
        brought.append(profile_digest(profile))
    if task.is_trace:
        brought.append(repr(task.workload))
        streams = (each for each in task.workload.streams if isinstance(each, Stream))
        replays = (each.arrivals for each in streams if isinstance(each.arrivals, Replay))
        brought += [_digest(Path(each.path).read_bytes()) for each in replays]
    return _digest("\n".join(brought).encode()) if brought else ""


def _digest(content: bytes) -> str:
    return hashlib.blake2s(content, digest_size=8).hexdigest()


def _own_file(name: str) -> Path | None:
    kind, colon, argument = name.partition(":")
    if not colon:
        return None
    path = Path(argument)
    if path.is_file():
        return path
    try:
        found = importlib.util.find_spec(kind)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found and found.origin and found.has_location else None


def _sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in ENDINGS and not name.startswith(LEFT_OUT):
                yield path
