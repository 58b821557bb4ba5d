"""A calibration's folder: plan.json, and journal.jsonl with a line for all that happened.

Lines are added and never changed. A process that is killed leaves at most a piece of a line at the
end, which is cut off before the next line is added, and a visit without its last line, which is
played again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import ValidationError

from agents.result_files import write_json
from llmserve_env.errors import InvalidInputError
from llmserve_env.validation import first_problem
from server.calibration.loading import CANARIES, CANARY_TOKENS
from server.real_clock import MOST_STARVED_FRACTION
from simulator.calibration.records import (
    LINE,
    Answered,
    Began,
    Ended,
    Failed,
    Line,
    Plan,
    Probe,
    Visit,
)

PLAN_FILE: Final = "plan.json"
JOURNAL_FILE: Final = "journal.jsonl"
# A visit counts if the server was as fast before and after it as it usually was, up to this.
DRIFT: Final = 0.15


@dataclass(frozen=True, slots=True)
class Complete:
    """A visit that is complete."""

    visit: Visit
    answers: tuple[Answered, ...]
    ended: Ended


@dataclass(frozen=True, slots=True)
class Spent:
    """What was asked of the server so far; of what was cut short, all that it may have been."""

    requests: int = 0
    tokens: int = 0


def cost_of(*visits: Visit) -> Spent:
    """What these visits ask, once each."""
    return Spent(
        sum(len(visit.prompt_tokens) + CANARIES for visit in visits),
        sum(visit.tokens + CANARIES * CANARY_TOKENS for visit in visits),
    )


@dataclass(slots=True)
class Progress:
    """What a journal says; owned by who reads or writes it.

    Attributes:
        plan: Of the folder.
        complete: Visits by their place in the plan.
        attempts: How often each was begun.
        spent: By probes and by attempts that are over.
        failures: Of attempts that were given up, in order.
        last_at: When the last visit was begun.
    """

    plan: Plan
    complete: dict[int, Complete] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    spent: Spent = Spent()
    failures: list[str] = field(default_factory=list)
    last_at: str = ""
    _answers: list[Answered] = field(default_factory=list)
    _open: int | None = None

    def counted(self) -> dict[int, Complete]:
        """The complete visits that were measured well, by their place in the plan.

        In one that was not, this process was starved of CPU, or a request that was alone on the
        server before or after it was another time as fast as the median of them all: the machine
        was busy otherwise, or the server with others' requests.
        """
        return {
            number: done
            for number, done in sorted(self.complete.items())
            if done.ended.starved_fraction <= MOST_STARVED_FRACTION and self.drift(done) <= DRIFT
        }

    def to_play(self) -> list[int]:
        """The places of the visits that are not measured, or not well."""
        counted = self.counted()
        return [number for number in range(len(self.plan.visits)) if number not in counted]

    def drift(self, done: Complete) -> float:
        """How far the server's speed around a visit was from the usual, as a fraction."""
        ends = [done.ended for done in self.complete.values()]
        usual_s = median([s for end in ends for s in (end.before_tpot_s, end.after_tpot_s)])
        around_s = (done.ended.before_tpot_s, done.ended.after_tpot_s)
        return max(abs(tpot_s / usual_s - 1.0) for tpot_s in around_s) if usual_s else 0.0

    def take(self, line: Line) -> None:
        """Note a line.

        Raises:
            ValueError: If it cannot follow the lines before it.
        """
        if isinstance(line, Probe):
            self._spend(line.requests, line.tokens)
            return
        if not 0 <= line.visit < len(self.plan.visits):
            raise ValueError(f"visit {line.visit} is not in the plan")
        if isinstance(line, Began):
            self.close()
            self._open, self.attempts[line.visit] = line.visit, line.attempt
            self.last_at = line.at
            return
        if line.visit != self._open or line.attempt != self.attempts[line.visit]:
            raise ValueError(f"visit {line.visit}, attempt {line.attempt}, was not begun")
        if isinstance(line, Answered):
            self._answers.append(line)
        elif isinstance(line, Failed):
            self._end(line.requests, line.tokens)
            self.failures.append(line.failure)
        else:
            self._complete(line)

    def close(self) -> None:
        """Count an attempt that was cut short in full."""
        if self._open is not None:
            visit = self.plan.visits[self._open]
            whole = cost_of(visit)
            self._end(whole.requests, whole.tokens)

    def _complete(self, line: Ended) -> None:
        visit = self.plan.visits[line.visit]
        if not line.requests == len(self._answers) == len(visit.prompt_tokens):
            raise ValueError(
                f"visit {line.visit} ended with {line.requests} requests; {len(self._answers)} "
                f"are there, {len(visit.prompt_tokens)} planned"
            )
        answers = tuple(sorted(self._answers, key=lambda each: each.sent_s))
        self.complete[line.visit] = Complete(visit, answers, line)
        tokens = sum(each.prompt_tokens + each.output_tokens for each in answers)
        self._end(len(answers) + CANARIES, tokens + CANARIES * CANARY_TOKENS)

    def _end(self, requests: int, tokens: int) -> None:
        self._spend(requests, tokens)
        self._open, self._answers = None, []

    def _spend(self, requests: int, tokens: int) -> None:
        self.spent = Spent(self.spent.requests + requests, self.spent.tokens + tokens)


class Journal:
    """The journal of a folder, open for one writer."""

    def __init__(self, file: int, progress: Progress) -> None:
        """Take over an open and locked file."""
        self._file, self.progress = file, progress

    def add(self, line: Line) -> None:
        """Write a line, whole, and note it."""
        os.write(self._file, line.model_dump_json(exclude_none=True).encode() + b"\n")
        if isinstance(line, Ended):
            os.fsync(self._file)
        self.progress.take(line)


@contextmanager
def open_journal(folder: Path, plan: Plan) -> Iterator[Journal]:
    """The folder's journal, to be gone on with; made if there is none.

    Raises:
        InvalidInputError: If the folder holds another plan, another process writes to it, or its
            files are not what this module writes.
        OSError: If it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / JOURNAL_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _lock(file, folder)
        if (folder / PLAN_FILE).exists() and read_progress(folder).attempts:
            check_same_plan(folder, plan)
        else:
            write_json(folder / PLAN_FILE, plan.model_dump(mode="json"))
        whole = (folder / JOURNAL_FILE).read_bytes()
        os.ftruncate(file, whole.rfind(b"\n") + 1)
        yield Journal(file, read_progress(folder))
    finally:
        os.close(file)


def check_same_plan(folder: Path, plan: Plan) -> None:
    """Refuse to go on with another plan.

    Raises:
        InvalidInputError: Naming the first difference.
    """
    kept = read_plan(folder)
    for name in Plan.model_fields:
        old, new = getattr(kept, name), getattr(plan, name)
        if old != new:
            told = "" if name == "visits" else f": {old!s:.80}, not {new!s:.80}"
            raise InvalidInputError(
                f"{folder / PLAN_FILE} has another {name}{told}; give the same options or another "
                "--out"
            )


def read_plan(folder: Path) -> Plan:
    """The plan of a folder.

    Raises:
        InvalidInputError: If there is none, or it is no plan.
    """
    path = folder / PLAN_FILE
    try:
        return Plan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InvalidInputError(
            f"{folder} holds no {PLAN_FILE}: llmserve calibrate run --out {folder} --send makes it"
        ) from None
    except ValidationError as error:
        raise InvalidInputError(f"{path}: {first_problem(error)}") from error


def read_progress(folder: Path) -> Progress:
    """What a folder holds; a piece of a line at its end is left out.

    Raises:
        InvalidInputError: If there is no plan, or a line is not what this module writes.
    """
    progress = Progress(read_plan(folder))
    path = folder / JOURNAL_FILE
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, text in enumerate(lines, start=1):
        try:
            progress.take(LINE.validate_json(text, strict=True))
        except ValidationError as error:
            raise InvalidInputError(f"{path}, line {number}: {first_problem(error)}") from error
        except ValueError as error:
            raise InvalidInputError(f"{path}, line {number}: {error}") from error
    progress.close()
    return progress


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidInputError(f"another process is writing to {folder}") from None
