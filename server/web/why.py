"""The sub-tab on which an episode is scrubbed, replayed and explained window by window."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import gradio as gr

from llmserve_env.charts.episode import Track, episode_panels
from llmserve_env.charts.figures import figures, framed
from llmserve_env.charts.styles import look_of
from llmserve_env.charts.timeline import Timeline, timeline
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.explanation import BINDING_NAMES, binding_shares, knob_changes
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import TaskSpec
from server.body_limit import MAX_UPLOAD_BYTES
from server.web.episodes import observations_of, parse_episodes
from server.web.form import message_place
from server.web.story import change_table, story_at
from server.web.traffic import label_of, task_of
from server.web.visit import Shared, Visit, status

FRAMES, FRAME_S = 50, 0.1
SEATED, RACED, UPLOADED = "seat", "race", "upload"
UNNAMED: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class Shown:
    """The episode that is looked at."""

    task: TaskSpec
    agent: str
    windows: Sequence[ServeObservation]


def build_why(shared: Shared, visit: gr.State, tab: gr.Tab) -> None:
    """Make the sub-tab inside the current context."""
    with gr.Row(elem_classes="ls-card", equal_height=False):
        episode = gr.Dropdown(
            _choices(shared, None),
            value=_choices(shared, None)[-1][1],
            label="Episode",
            info="Of your last comparison, of the wheel, or of your file.",
            elem_id="why-episode",
            scale=3,
            min_width=260,
        )
        upload = gr.UploadButton(
            "Upload an episode file", file_types=[".jsonl", ".json"], elem_id="why-upload", scale=1,
            min_width=170,
        )  # fmt: skip
    first = _found(shared, None, _choices(shared, None)[-1][1])
    told = message_place(status(_summary(first)), "why-status")
    with gr.Row(elem_classes="ls-card"):
        window = gr.Slider(
            1, len(first.windows), value=_worst(first), step=1, label="Window", scale=6,
            min_width=240, elem_id="why-window",
        )  # fmt: skip
        previous = gr.Button("Previous change", size="sm", min_width=120, elem_id="why-previous")
        following = gr.Button("Next change", size="sm", min_width=120, elem_id="why-next")
        replay = gr.Button(
            "Replay", variant="primary", size="sm", min_width=90, elem_id="why-replay"
        )
        stop = gr.Button("Stop", size="sm", min_width=70, elem_id="why-stop")
    view = gr.HTML(_view(first, _worst(first)), elem_id="why-view")
    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": 16,
    }
    at = [episode, window, visit]
    choose = partial(_choose, shared)
    opened = tab.select(partial(_refresh, shared), [episode, visit], episode, **quiet)
    episode.change(choose, [episode, visit], [told, window, view], **quiet)
    window.input(partial(_scrub, shared), at, view, trigger_mode="always_last", **quiet)
    window.release(partial(_scrub, shared), at, view, trigger_mode="always_last", **quiet)
    previous.click(partial(_jump, shared, -1), at, [window, view], **quiet)
    following.click(partial(_jump, shared, 1), at, [window, view], **quiet)
    running = replay.click(partial(_replay, shared), at, [window, view], **quiet)
    stop.click(None, cancels=[running], api_visibility="private")
    upload.upload(
        partial(_upload, shared),
        [upload, visit],
        [told, episode, window, view, visit],
        cancels=[opened],  # its answer would come late, and choose what was chosen before
        **quiet,
    )


def _choices(shared: Shared, visit: Visit | None) -> list[tuple[str, str]]:
    """The episodes that there are, as (label, key)."""
    race = (visit and visit.race) or shared.opening
    found = [
        (_label(lane.name, race.task.name, race.seed), f"{RACED}:{index}")
        for index, lane in enumerate(race.lanes)
        if lane.windows
    ]
    if visit is not None and visit.seat is not None and visit.seat.windows:
        found.append((_label("you", visit.seat.task.name, visit.seat.seed), f"{SEATED}:0"))
    for index, saved in enumerate(visit.uploads if visit is not None else ()):
        task = label_of(saved.log.task_id)
        label = _label(saved.agent or UNNAMED, task, saved.log.seed)
        found.append((f"File: {label}", f"{UPLOADED}:{index}"))
    return found


def _found(shared: Shared, visit: Visit | None, key: str) -> Shown:
    """The episode with this key; the first there is if it has gone."""
    known = [value for _, value in _choices(shared, visit)]
    kind, _, place = (key if key in known else known[0]).partition(":")
    if kind == UPLOADED and visit is not None:
        saved = visit.uploads[int(place)]
        return Shown(task_of(saved.log.task_id), saved.agent or UNNAMED, observations_of(saved.log))
    if kind == SEATED and visit is not None and visit.seat is not None:
        return Shown(visit.seat.task, "you", visit.seat.windows)
    race = (visit and visit.race) or shared.opening
    lane = race.lanes[int(place)]
    return Shown(race.task, lane.name, lane.windows)


def _refresh(shared: Shared, key: str, visit: Visit | None) -> Any:
    choices = _choices(shared, visit)
    known = [value for _, value in choices]
    # A value that is told again would undo what is chosen meanwhile.
    return (
        gr.update(choices=choices) if key in known else gr.update(choices=choices, value=known[0])
    )


def _choose(shared: Shared, key: str, visit: Visit | None) -> tuple[Any, ...]:
    shown = _found(shared, visit, key)
    at = _worst(shown)
    slider = gr.update(maximum=max(len(shown.windows), 2), value=at)
    return status(_summary(shown)), slider, _view(shown, at)


async def _scrub(shared: Shared, key: str, window: float, visit: Visit | None) -> str:
    shown = _found(shared, visit, key)
    return await shared.workers.play(partial(_view, shown, _inside(shown, window)))


async def _jump(
    shared: Shared, way: int, key: str, window: float, visit: Visit | None
) -> tuple[Any, ...]:
    shown = _found(shared, visit, key)
    at = _next_change(shown, _inside(shown, window), way)
    return at, await shared.workers.play(partial(_view, shown, at))


async def _replay(
    shared: Shared, key: str, window: float, visit: Visit | None
) -> AsyncIterator[tuple[Any, ...]]:
    shown = _found(shared, visit, key)
    last = len(shown.windows)
    first = _inside(shown, window)
    first = 1 if first == last else first
    stride = max(last // FRAMES, 1)
    for at in [*range(first, last, stride), last]:
        yield at, await shared.workers.play(partial(_view, shown, at, upto=at, tables=at == last))
        await asyncio.sleep(FRAME_S)


def _upload(shared: Shared, path: str | None, visit: Visit | None) -> tuple[Any, ...]:
    visit = visit or Visit()
    try:
        visit.uploads = _read(path)
    except LLMServeError as error:
        same = gr.skip()
        return status(str(error), is_error=True), same, same, same, visit
    key = f"{UPLOADED}:0"
    choices = gr.update(choices=_choices(shared, visit), value=key)
    told, slider, view = _choose(shared, key, visit)
    return told, choices, slider, view, visit


def _read(path: str | None) -> tuple[Any, ...]:
    """The episodes of an uploaded file, which is deleted.

    Raises:
        LLMServeError: If it is too large, holds no episodes, or their tasks do not exist.
    """
    if path is None:
        raise InvalidInputError("no file came")
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_UPLOAD_BYTES:
            raise InvalidInputError(f"the file has {size} bytes; at most {MAX_UPLOAD_BYTES}")
        text = file.read_bytes().decode("utf-8", errors="replace")
    finally:
        file.unlink(missing_ok=True)
    episodes = parse_episodes(text)
    for episode in episodes:
        task_of(episode.log.task_id)
        if not episode.log.steps:
            raise InvalidInputError(f"an episode on {episode.log.task_id} has no windows")
    return episodes


def _view(shown: Shown, at: int, *, upto: int | None = None, tables: bool = True) -> str:
    """HTML of the lanes, the story of a window, the charts and the table of changes."""
    windows = shown.windows[:upto]
    lanes = Timeline(
        windows, shown.task.default_action, shown.task.windows, shown.task.active_actions
    )
    story = story_at(shown.task, shown.windows, at - 1)
    charts = figures(
        episode_panels(shown.task, [Track(shown.agent, windows)]), cursor=at - 1, tables=tables
    )
    changes = framed(change_table(shown.task, shown.windows)) if tables else ""
    lanes_drawn = framed(timeline(lanes, cursor=at - 1, has_table=tables))
    return f'<div class="ls-two">{lanes_drawn}{story}</div>{changes}{charts}'


def _summary(shown: Shown) -> str:
    shares = ", ".join(f"{BINDING_NAMES[name]} {n}" for name, n in binding_shares(shown.windows))
    return (
        f"{look_of(shown.agent).label} on {shown.task.name}: {len(shown.windows)} windows. Held "
        f"back by: {shares}."
    )


def _worst(shown: Shown) -> int:
    """The number of the window with the least reward: where a reader would look first."""
    rewards = [window.reward or 0.0 for window in shown.windows]
    return rewards.index(min(rewards)) + 1


def _next_change(shown: Shown, at: int, way: int) -> int:
    """The number of the next window, or the one before, in which a knob moved; else the same."""
    end = len(shown.windows) + 1 if way > 0 else 0
    for number in range(at + way, end, way):
        before = shown.windows[number - 2].config if number > 1 else shown.task.default_action
        if knob_changes(before, shown.windows[number - 1].config):
            return number
    return at


def _inside(shown: Shown, window: float) -> int:
    return min(max(int(window), 1), len(shown.windows))


def _label(agent: str, task: str, seed: int) -> str:
    return f"{look_of(agent).label} on {task}, seed {seed}"
