"""What a person at the wheel sees: both sides in numbers, and two charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from llmserve_env.models import KNOBS, ServeObservation
from server.cli.live_chart import Room, chart, lines_of, scale_over
from server.cli.wheel import SHORT_NAMES, YOU, Wheel

STYLES: Final = ("bright_blue", "dark_orange")
NUMBERS_WIDTH: Final = 42
NARROWEST_CHART: Final = 36
HELP: Final = """\
Enter          play 1 window with the knobs as they are; a number plays so many, `end` all
batch 64       turn a knob; several in one line, and a number at the end plays: batch 64 kv 50% 10
knobs          batch 1-512   kv 0.1-1.0 or 10%-100%   draft 0-8   tier FP16 INT8 INT4
               split on/off   priority on/off; a task may hold some of them fixed
help, quit     this text; leave, and be graded for what was played"""
HELD_BY: Final = {
    "kv": "the KV budget was full",
    "compute": "the GPU was busy",
    "queue": "the batch cap was reached",
    "switching": "the engine was switching",
    "none": "nothing",
}


def picture(wheel: Wheel, *, columns: int, rows: int) -> RenderableType:
    """Where the game stands.

    Args:
        wheel: The game.
        columns: Of the terminal.
        rows: Of the terminal.
    """
    played = len(wheel.windows)
    heading = Text(
        f"{wheel.task.task_id}, seed {wheel.ghost.seed}, window {played} of {wheel.task.windows}",
        style="bold",
    )
    if not played:
        return Group(heading, _knob_line(wheel))
    numbers = _numbers(wheel)
    wide = columns - NUMBERS_WIDTH
    if wide < NARROWEST_CHART:
        return Group(heading, numbers, _held_line(wheel))
    room = Room(columns=wide, rows=max((min(rows, 30) - 10) // 2, 3), windows=wheel.task.windows)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=NUMBERS_WIDTH - 2)
    grid.add_column()
    grid.add_row(numbers, Group(*_charts(wheel, room)))
    return Group(heading, grid, _held_line(wheel))


def short_line(wheel: Wheel) -> str:
    """Where the game stands, in one line."""
    you, ghost = (_mean_reward(windows) for windows in _sides(wheel))
    now = wheel.windows[-1]
    ttft = "-" if now.p99_ttft_ms is None else f"{now.p99_ttft_ms:.0f} ms"
    return (
        f"window {len(wheel.windows)}: mean reward {you:+.3f}, {wheel.ghost.agent} {ghost:+.3f}; "
        f"{now.queue_depth} waiting, p99 TTFT {ttft}, held back by: {now.binding_constraint}"
    )


def _sides(wheel: Wheel) -> tuple[Sequence[ServeObservation], Sequence[ServeObservation]]:
    return wheel.windows, wheel.ghost.windows[: len(wheel.windows)]


def _mean_reward(windows: Sequence[ServeObservation]) -> float:
    return sum(window.reward or 0.0 for window in windows) / len(windows)


def _charts(wheel: Wheel, room: Room) -> list[Text]:
    sides, count = _sides(wheel), len(wheel.windows)
    waiting = [[float(window.queue_depth) for window in side] for side in sides]
    earned = [list(accumulate(window.reward or 0.0 for window in side)) for side in sides]
    # The ghost first: where both meet, the person's line is seen.
    styles = STYLES[::-1]
    return [
        chart(
            "requests waiting", lines_of(waiting[::-1], styles, count), scale_over(waiting), room
        ),
        chart("reward so far", lines_of(earned[::-1], styles, count), scale_over(earned), room),
    ]


def _numbers(wheel: Wheel) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for name, style in zip((YOU, wheel.ghost.agent), STYLES, strict=True):
        table.add_column(name, style=style, justify="right", max_width=12)
    sides = [(windows[-1], _mean_reward(windows)) for windows in _sides(wheel)]
    rows = [_column(now, mean) for now, mean in sides]
    for name in rows[0]:
        table.add_row(name, *(row[name] for row in rows))
    return table


def _column(now: ServeObservation, mean_reward: float) -> dict[str, str]:
    knobs = now.config.model_dump()
    shown = {short: _word(knobs[knob]) for short, knob in SHORT_NAMES.items()}
    latencies = {"p99 TTFT, ms": now.p99_ttft_ms, "p99 ITL, ms": now.p99_itl_ms}
    return shown | {
        "arriving, per s": f"{now.request_arrival_rate:.0f}",
        "waiting": f"{now.queue_depth}",
        "running": f"{now.active_requests}",
        "KV in use": f"{now.kv_cache_occupancy:.0%}",
        **{name: "-" if ms is None else f"{ms:,.0f}" for name, ms in latencies.items()},
        "tokens/s": f"{now.throughput_tps:,.0f}",
        "reward": f"{now.reward or 0.0:+.3f}",
        "mean reward": f"{mean_reward:+.3f}",
    }


def _knob_line(wheel: Wheel) -> Text:
    knobs = wheel.action.model_dump()
    active = [short for short, knob in SHORT_NAMES.items() if knob in wheel.task.active_actions]
    told = ", ".join(f"{short} {_word(knobs[SHORT_NAMES[short]])}" for short in active)
    return Text(f"Next window: {told}")


def _held_line(wheel: Wheel) -> Text:
    """What held requests back, and the knobs that are turned but not yet in force."""
    held = HELD_BY[wheel.windows[-1].binding_constraint]
    text = Text(f"Held back most by: {held}.")
    before, after = wheel.windows[-1].config.model_dump(), wheel.action.model_dump()
    if turned := [f"{knob} {_word(after[knob])}" for knob in KNOBS if after[knob] != before[knob]]:
        text.append(f" Turned for the next window: {', '.join(turned)}.", style="bold")
    return text


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.0%}" if isinstance(value, float) else str(value)
