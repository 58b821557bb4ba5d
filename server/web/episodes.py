"""Episode files of several episodes, one after the other, and what is drawn of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError

from llmserve_env.episode_file import FORMAT, SavedEpisode, episode_text, parse_episode
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import EpisodeLog, ServeObservation
from llmserve_env.validation import first_problem

MOST_LINES: Final = 50_000


def episodes_text(episodes: Iterable[SavedEpisode]) -> str:
    """The episodes as JSON lines, each as episode_file has it."""
    return "".join(episode_text(episode.log, agent=episode.agent) for episode in episodes)


def parse_episodes(text: str) -> tuple[SavedEpisode, ...]:
    """The episodes in a file's content, at least one.

    A single JSON object with the fields of EpisodeLog is read as well.

    Raises:
        InvalidInputError: Naming the episode, the line in it, and what is wrong there.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or len(lines) > MOST_LINES:
        raise InvalidInputError(
            f"an episode file has 1 to {MOST_LINES} lines of JSON, got {len(lines)}"
        )
    whole = _whole_log(text)
    if whole is not None:
        return (whole,)
    starts = [index for index, line in enumerate(lines) if FORMAT in line[:64]] or [0]
    parts = zip(starts, [*starts[1:], len(lines)], strict=True)
    return tuple(
        _parsed(number, lines[first:behind]) for number, (first, behind) in enumerate(parts, 1)
    )


def observations_of(log: EpisodeLog) -> tuple[ServeObservation, ...]:
    """What was seen after every window, without the reward's terms, which a log does not hold."""
    return tuple(
        ServeObservation.model_construct(
            **dict(step.metrics),
            step_index=index,
            task_id=log.task_id,
            config=step.action,
            reward=step.reward,
            done=False,
            metadata={},
        )
        for index, step in enumerate(log.steps, 1)
    )


def _whole_log(text: str) -> SavedEpisode | None:
    """The one episode of a text that is an EpisodeLog; None if it is something else."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(found, dict) or "steps" not in found:
        return None
    try:
        return SavedEpisode(EpisodeLog.model_validate_json(text))
    except ValidationError as error:
        raise InvalidInputError(first_problem(error, tells_input=True)) from error


def _parsed(number: int, lines: list[str]) -> SavedEpisode:
    try:
        return parse_episode("\n".join(lines))
    except InvalidInputError as error:
        raise InvalidInputError(f"episode {number} of the file, {error}") from error
