"""Explanations as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from llmserve_env.charts.tables import folded, table
from llmserve_env.explanation import (
    BINDING_NAMES,
    WindowStory,
    explain_episode,
    explain_window,
)
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import TaskSpec

TABLE_TITLE: Final = "Every window in which a knob moved"


def story_of_last(task: TaskSpec, windows: Sequence[ServeObservation]) -> str:
    """HTML of what happened in the last of these windows; empty if there is none."""
    return story_at(task, windows, len(windows) - 1) if windows else ""


def story_at(task: TaskSpec, windows: Sequence[ServeObservation], index: int) -> str:
    """HTML of what happened in one window."""
    before = windows[index - 1] if index else None
    return _html(explain_window(task, before, windows[index]))


def change_table(task: TaskSpec, windows: Sequence[ServeObservation]) -> str:
    """HTML, folded, of every window in which a knob moved: what held, what moved, what followed."""
    rows = [
        [str(story.window), BINDING_NAMES[story.binding], "; ".join(story.knobs), _followed(story)]
        for story in explain_episode(task, windows)
        if story.knobs
    ]
    head = ["window", "held back by", "knobs", "what changed"]
    return folded(
        f"{TABLE_TITLE} ({len(rows)})", table(head, rows, caption=TABLE_TITLE, has_prose=True)
    )


def _html(story: WindowStory) -> str:
    return (
        f'<section class="ls-story" aria-live="polite"><h2>Window {story.window}: held back by '
        f"{escape(BINDING_NAMES[story.binding])}</h2><p>{escape(story.held_by)}</p>"
        f"{_list('Knobs moved', story.knobs, 'No knob moved.')}"
        f"{_list('What changed', story.effects, 'Little changed.')}</section>"
    )


def _list(title: str, entries: Iterable[str], nothing: str) -> str:
    items = "".join(f"<li>{escape(entry)}</li>" for entry in entries)
    return f"<b>{title}</b><ul>{items}</ul>" if items else f"<p>{nothing}</p>"


def _followed(story: WindowStory) -> str:
    return "; ".join(story.effects) or "little"
