"""What the page keeps for one visitor, and what its tabs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from llmserve_env.charts.episode import AnyPanel
from llmserve_env.charts.figures import picture
from llmserve_env.episode_file import SavedEpisode
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import MAX_SEED
from server.web.downloads import Download, Downloads
from server.web.episodes import episodes_text
from server.web.own_traces import OwnTrace, OwnTraces
from server.web.race import Race
from server.web.seat import Seat
from server.web.workers import Workers

JSON_LINES, SVG = "application/jsonl", "image/svg+xml"
# A visitor's episodes are forgotten so long after the last click.
KEPT_S: Final = 3600


class Visit:
    """One visitor's episodes; nobody else's page can reach them.

    Attributes:
        race: The last comparison, as far as it was played.
        seat: The episode at the wheel.
        uploads: Episodes read from the last uploaded file.
        traces: Recordings that the visitor brought.
    """

    def __init__(self) -> None:
        """Nothing was played yet."""
        self.race: Race | None = None
        self.seat: Seat | None = None
        self.uploads: tuple[SavedEpisode, ...] = ()
        self.traces: list[OwnTrace] = []


@dataclass(frozen=True, slots=True)
class Shared:
    """What all visitors share.

    Attributes:
        workers: Threads that play.
        downloads: Files on offer.
        traces: Recordings that visitors brought.
        opening: A comparison played when the server started, shown until a visitor runs one.
    """

    workers: Workers
    downloads: Downloads
    traces: OwnTraces
    opening: Race


def checked_seed(value: float | None) -> int:
    """A seed as a form gives it.

    Raises:
        InvalidInputError: If it is no whole number in range.
    """
    if value is None or value != int(value) or not 0 <= value <= MAX_SEED:
        raise InvalidInputError(
            f"the seed must be a whole number from 0 to {MAX_SEED}, got {value}"
        )
    return int(value)


def links(
    downloads: Downloads, name: str, episodes: Sequence[SavedEpisode], panels: Sequence[AnyPanel]
) -> str:
    """HTML with links to the episodes and to their picture."""
    title = name.replace("_", " ")
    offered = [
        Download(f"{name}.jsonl", JSON_LINES, lambda: episodes_text(episodes)),
        Download(f"{name}.svg", SVG, lambda: picture(title, panels)),
    ]
    return f'<p class="downloads">{" ".join(map(downloads.offer, offered))}</p>'


def status(message: str, *, is_error: bool = False) -> str:
    """HTML of a message; where it stands, screen readers announce what changes."""
    css = "status error" if is_error else "status"
    return f'<p class="{css}">{escape(message)}</p>'
