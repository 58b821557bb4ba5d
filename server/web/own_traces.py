"""Recordings that visitors bring: imported for their page alone, a bounded number at once."""

from __future__ import annotations

import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from llmserve_env.traces import TRACE_SUFFIX, TraceOptions
from server.web.traffic import WITH
from simulator.trace_files.importing import import_trace
from simulator.trace_files.source import check_unpacked_size

PREFIX: Final = "mine:"
MOST_TRACES: Final = 32
MOST_UNPACKED_BYTES: Final = 64 * 1_048_576
TOKEN_BYTES: Final = 12
MAX_LABEL_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class OwnTrace:
    """A recording that was imported.

    Attributes:
        value: What stands for it in a form; nobody guesses it.
        label: What its owner reads.
        path: Where it lies.
    """

    value: str
    label: str
    path: Path


class OwnTraces:
    """The newest recordings of all visitors; the oldest go, and all go with the process."""

    def __init__(self) -> None:
        """Hold nothing; the folder is made for the first recording."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._traces: OrderedDict[str, OwnTrace] = OrderedDict()
        self._lock = Lock()

    def add(self, source: Path) -> OwnTrace:
        """Import a recording of any format that `llmserve trace import` reads.

        Raises:
            InvalidInputError: If it cannot be read, holds no request or too much.
        """
        check_unpacked_size(source, MOST_UNPACKED_BYTES)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        path = self._place() / f"{token}{TRACE_SUFFIX}"
        card = import_trace(source, path)
        name = source.name[:MAX_LABEL_CHARACTERS]
        label = f"Your {name}, {card.rows:,} requests, not graded"
        trace = OwnTrace(PREFIX + token, label, path)
        with self._lock:
            self._traces[trace.value] = trace
            while len(self._traces) > MOST_TRACES:
                self._traces.popitem(last=False)[1].path.unlink(missing_ok=True)
        return trace

    def close(self) -> None:
        """Delete all of them."""
        with self._lock:
            self._traces.clear()
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def task(self, task_id: str, value: str) -> TaskSpec:
        """A graded task's deployment, objectives and reward under a visitor's recording.

        Raises:
            InvalidInputError: If the recording has gone.
            UnknownTaskError: If there is no such task.
        """
        with self._lock:
            trace = self._traces.get(value)
        if trace is None:
            raise InvalidInputError("your recording is not here any more; please upload it again")
        options = TraceOptions(task=task_id)
        made = shipped_catalogue().trace_task(f"{task_id}{WITH}upload", trace.path, options)
        base = shipped_catalogue().get(task_id)
        told = f"Your own recording on the deployment of {base.name}."
        return made.model_copy(update={"name": f"{base.name}, your trace", "description": told})

    def _place(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="llmserve-web-")
            return Path(self._folder.name)
