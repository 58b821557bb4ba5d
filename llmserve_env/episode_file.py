"""An episode as a file of JSON lines: one line about the whole, then one line a window.

The first line has `format`, `agent` (who played, if anybody says so) and the fields of EpisodeLog
but its steps; every other line is an EpisodeStep. Whoever reads a file that is still being written,
or was cut, has the windows up to there. The grader replays such a log and believes none of its
numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import EpisodeLog, MetricsSnapshot, ServeObservation

FORMAT: Final = "llmserve-episode-1"
MAX_AGENT_CHARACTERS: Final = 200
MEASURED: Final = frozenset(MetricsSnapshot.model_fields)


@dataclass(frozen=True, slots=True)
class SavedEpisode:
    """What a file holds.

    Attributes:
        log: The episode.
        agent: Who played, in the words of whoever saved it; None if nobody said.
    """

    log: EpisodeLog
    agent: str | None = None


def episode_text(log: EpisodeLog, *, agent: str | None = None) -> str:
    """The file's content."""
    return "".join(f"{line}\n" for line in _lines(log, agent))


def parse_episode(text: str) -> SavedEpisode:
    """The episode in a file's content.

    Raises:
        InvalidInputError: Naming the line that is no JSON, or the field that is wrong.
    """
    rows = [_row(line, at) for at, line in enumerate(text.splitlines(), start=1) if line.strip()]
    head = rows[0] if rows else {}
    if head.get("format") != FORMAT:
        raise InvalidInputError(
            f"line 1: format must be {FORMAT!r}, got {head.get('format')!r:.80}: this is no episode"
        )
    fields = {name: value for name, value in head.items() if name not in ("format", "agent")}
    agent = head.get("agent")
    if agent is not None and not (isinstance(agent, str) and len(agent) <= MAX_AGENT_CHARACTERS):
        raise InvalidInputError(
            f"line 1: agent must be at most {MAX_AGENT_CHARACTERS} characters, got {agent!r:.80}"
        )
    try:
        log = EpisodeLog.model_validate(fields | {"steps": rows[1:]})
    except ValidationError as error:
        raise InvalidInputError(_problem(error)) from error
    return SavedEpisode(log=log, agent=agent)


def measured_in(observation: ServeObservation) -> MetricsSnapshot:
    """What was measured, of all that was observed: the part that a step of a log keeps.

    Raises:
        InvalidInputError: If something was not measured, as on a real server: its episodes cannot
            be replayed.
    """
    try:
        return MetricsSnapshot.model_validate(observation.model_dump(include=set(MEASURED)))
    except ValidationError as error:
        raise InvalidInputError(_problem(error)) from error


def _lines(log: EpisodeLog, agent: str | None) -> Iterator[str]:
    said = {} if agent is None else {"agent": agent}
    yield json.dumps({"format": FORMAT} | said | log.model_dump(mode="json", exclude={"steps"}))
    for step in log.steps:
        yield step.model_dump_json()


def _row(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"line {number}: no JSON: {error}") from error
    if not isinstance(row, dict):
        raise InvalidInputError(f"line {number}: need a JSON object, got {line!r:.80}")
    return row


def _problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = list(problem["loc"])
    line = "line 1"
    if len(where) > 1 and where[0] == "steps":
        # The first line is about the whole, and people count from one.
        line, where = f"line {int(where[1]) + 2}", where[2:]
    return f"{line}: {'.'.join(map(str, where))}: {problem['msg']}, got {problem['input']!r:.80}"
