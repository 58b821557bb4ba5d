"""A submission as a file of strict JSON lines: who claims what, then one line an episode.

The first line says who played, under which version, how many episodes follow and which scores are
claimed for each task. Every other line has a task, a seed, the setting of every window and the raw
score that is claimed for it. Whoever judges executes the actions; the claims earn nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import KNOBS, Seed, ServeAction
from llmserve_env.validation import first_problem

FORMAT: Final = "llmserve-submission-1"
MAX_LINE_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 1 << 28
MAX_EPISODES: Final = 20_000
SHOWN_BYTES: Final = 60


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


Part = TypeVar("Part", bound=_Part)


class Claim(_Part):
    """What is claimed for all episodes of a task.

    Attributes:
        raw_score: Mean of the episodes' raw scores.
        score: On the grader's scale before clipping, a ratio of means; None on a variant.
    """

    raw_score: float = Field(ge=-1.0, le=1.0)
    score: float | None


class Head(_Part):
    """The first line.

    Attributes:
        format: Of the file.
        agent: Who played, in the words of who submits.
        about: Where to read more; may be empty.
        environment_version: Scores are compared within one version only.
        sees_future: Whether the agent was shown the traffic in advance.
        knobs: The order of an action's values.
        episodes: How many lines follow.
        claims: By task.
    """

    format: Literal["llmserve-submission-1"]
    agent: str = Field(min_length=1, max_length=200)
    about: str = Field(default="", max_length=1_000)
    environment_version: str = Field(max_length=100)
    sees_future: bool
    knobs: list[str]
    episodes: int = Field(ge=1, le=MAX_EPISODES)
    claims: dict[str, Claim]


class SubmittedEpisode(_Part):
    """Another line.

    Attributes:
        task_id: What was played.
        seed: Of the episode and its traffic.
        raw_score: The mean reward of a window that is claimed.
        actions: The setting of every window, values in the order of the head's knobs.
    """

    task_id: str = Field(max_length=300)
    seed: Seed
    raw_score: float = Field(ge=-1.0, le=1.0)
    actions: list[list[Any]]

    def settings(self) -> list[ServeAction]:
        """The actions.

        Raises:
            InvalidInputError: Naming the window, the value and its range.
        """
        return [self._setting(row, at) for at, row in enumerate(self.actions, start=1)]

    def _setting(self, row: list[Any], window: int) -> ServeAction:
        where = f"{self.task_id} seed {self.seed}, window {window}"
        if len(row) != len(KNOBS):
            raise InvalidInputError(f"{where}: need {len(KNOBS)} values, got {len(row)}")
        try:
            return ServeAction.model_validate(dict(zip(KNOBS, row, strict=True)))
        except ValidationError as error:
            raise InvalidInputError(
                f"{where}: {first_problem(error, whole='the line', tells_input=True)}"
            ) from error


@dataclass(frozen=True, slots=True)
class Submission:
    """What a file holds.

    Attributes:
        head: Its first line.
        lines: The others as they are, by task and seed; checked, so that they can be parsed.
    """

    head: Head
    lines: Mapping[tuple[str, int], bytes]


def submission_lines(head: Head, episodes: Iterable[SubmittedEpisode]) -> Iterator[bytes]:
    """The file's content, line by line."""
    yield head.model_dump_json().encode() + b"\n"
    for episode in episodes:
        yield episode.model_dump_json().encode() + b"\n"


def action_values(action: ServeAction) -> list[Any]:
    """An action's values in the order of KNOBS."""
    return [getattr(action, knob) for knob in KNOBS]


def read_submission(path: Path) -> Submission:
    """All of a file, every line checked; nothing is executed.

    Raises:
        InvalidInputError: Naming the line and what is wrong with it.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size > MAX_FILE_BYTES:
            raise InvalidInputError(f"{path}: at most {MAX_FILE_BYTES} bytes, got {size}")
        file.seek(0)
        rows = _numbered(file)
        try:
            head = _head(next(rows, b""))
            lines: dict[tuple[str, int], bytes] = {}
            for number, line in enumerate(rows, start=2):
                key = _key(line, number)
                if key in lines:
                    raise InvalidInputError(f"line {number}: {key[0]} seed {key[1]} is there twice")
                lines[key] = line
                if len(lines) > head.episodes:
                    break
            _check_whole(head, lines)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}") from error
    return Submission(head, lines)


def parse_line(line: bytes) -> SubmittedEpisode:
    """An episode.

    Raises:
        InvalidInputError: Naming what is wrong.
    """
    return _validated(SubmittedEpisode, line)


def _numbered(file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInputError(f"line {number}: longer than {MAX_LINE_BYTES} bytes")
        yield line


def _head(line: bytes) -> Head:
    try:
        head = _validated(Head, line)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"line 1: {error}: this is no submission of the format {FORMAT!r}"
        ) from error
    if tuple(head.knobs) != KNOBS:
        raise InvalidInputError(f"line 1: knobs must be {list(KNOBS)}, got {head.knobs!r:.160}")
    return head


def _key(line: bytes, number: int) -> tuple[str, int]:
    try:
        episode = parse_line(line)
        episode.settings()
    except InvalidInputError as error:
        raise InvalidInputError(f"line {number}: {error}") from error
    return episode.task_id, episode.seed


def _check_whole(head: Head, lines: Mapping[tuple[str, int], bytes]) -> None:
    if len(lines) != head.episodes:
        found = f"more than {head.episodes}" if len(lines) > head.episodes else f"{len(lines)}"
        raise InvalidInputError(
            f"line 1 says episodes {head.episodes}, the file holds {found}: cut off, or added to"
        )
    played = {task_id for task_id, _ in lines}
    if played != set(head.claims):
        raise InvalidInputError(
            f"line 1: claims must name the tasks that were played, {sorted(played)!r:.200}, "
            f"got {sorted(head.claims)!r:.200}"
        )


def _validated(kind: type[Part], line: bytes) -> Part:
    try:
        return kind.model_validate(_strict_json(line))
    except ValidationError as error:
        raise InvalidInputError(first_problem(error, whole="the line", tells_input=True)) from error


def _strict_json(line: bytes) -> Any:
    """What a line says; JSON as its standard has it, no name twice in an object.

    Raises:
        InvalidInputError: If it is none.
    """
    try:
        return json.loads(
            line.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"no JSON: {error}, got {line[:SHOWN_BYTES]!r}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name is there twice in one object")
    return fields


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
