"""`llmserve demo`: a heuristic against a trained policy on the same traffic, live, then a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.cli.contests import FIRST_TEST_SEED, Played, play, standing_of
from server.cli.conventions import AsJson, write_json
from server.cli.live_chart import Room, chart, lines_of, scale_over
from server.cli.screens import Screen, screen
from server.cli.tables import SHORT_SCALE, standings_table
from simulator.warm_up import warm_up

TASK: Final = "bursty_workload"
RIVALS: Final = ("heuristic", "ppo")
STYLES: Final = ("dark_orange", "bright_blue")
# Shown in the table only: what nobody changed, and the best that nobody changes.
BESIDE: Final = ("vllm_default", "best_constant")
LONGEST_S: Final = 600.0
NARROWEST, LOWEST = 60, 20  # of a terminal that a live chart fits in
WIDEST: Final = 110
NEXT_STEPS: Final = (
    "Next: llmserve play (take the wheel), llmserve compare --task adversarial_multitenant, "
    "llmserve serve (the web page)"
)


def demo(
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = FIRST_TEST_SEED,
    seconds: Annotated[
        float, typer.Option(help="How long the live chart takes, 0 to 600; 0: no chart.")
    ] = 12.0,
    as_json: AsJson = False,
) -> None:
    """Show a heuristic and a trained policy on the same bursty traffic, live; then their grades."""
    if not 0.0 <= seconds <= LONGEST_S:
        raise InvalidInputError(f"--seconds must be 0 to {LONGEST_S:g}, got {seconds:g}")
    task, shown = shipped_catalogue().get(TASK), screen()
    is_live = not as_json and seconds > 0.0 and _can_draw(shown)
    with _waiting(shown, is_live=is_live):
        warm_up()
        rivals = [play(name, task, seed) for name in RIVALS]
    if is_live:
        _animate(shown, task, rivals, seconds=seconds)
    standings = [standing_of(task, [each]) for each in rivals]
    standings += [standing_of(task, [play(name, task, seed)]) for name in BESIDE]
    standings.sort(key=lambda row: row.summary.mean_reward, reverse=True)
    if as_json:
        write_json(
            {
                "environment_version": shipped_catalogue().environment_version,
                "task_id": task.task_id,
                "seed": seed,
                "agents": [row.as_json() for row in standings],
            }
        )
        return
    shown.print(standings_table(task, [seed], standings))
    shown.print(Text(f"Grade: {SHORT_SCALE}."))
    shown.print(Text(NEXT_STEPS))


def frame(
    task: TaskSpec, rivals: Sequence[Played], window: int, *, columns: int, rows: int
) -> Group:
    """The picture after a window: who did what up to it.

    Args:
        task: What is played.
        rivals: In the order of STYLES.
        window: From 1 to the last.
        columns: Of the terminal.
        rows: Of the terminal.
    """
    wide = min(columns, WIDEST)
    # The title, two charts with theirs, and a table with two headings; the rest is for the dots.
    high = max((rows - 8 - len(rivals)) // 2, 3)
    latencies = [[each.p99_ttft_ms for each in rival.windows] for rival in rivals]
    waiting = [[float(each.queue_depth) for each in rival.windows] for rival in rivals]
    arriving = rivals[0].windows[window - 1].request_arrival_rate
    now = f"{task.task_id}, seed {rivals[0].seed}, window {window} of {task.windows}"
    objective = task.slo.ttft_ms[0]
    # The scales are those of all windows, so that the picture does not jump.
    ttft_scale = scale_over([*latencies, [objective]], is_log=True)
    room = Room(columns=wide, rows=high, windows=task.windows)
    return Group(
        Text(f"{now}, {arriving:.0f} requests/s arriving", style="bold"),
        chart(
            "p99 TTFT in ms, log scale; dotted: the objective",
            lines_of(latencies, STYLES, window),
            ttft_scale,
            room,
            level=objective,
        ),
        chart("requests waiting", lines_of(waiting, STYLES, window), scale_over(waiting), room),
        _knobs(rivals, window),
    )


def _knobs(rivals: Sequence[Played], window: int) -> Table:
    """What each does now, and how it did so far."""
    table = Table(box=None, pad_edge=False)
    for heading in ("agent", "batch cap", "KV", "draft", "tier", "p99 TTFT", "mean reward"):
        table.add_column(heading, justify="left" if heading == "agent" else "right", no_wrap=True)
    for rival, style in zip(rivals, STYLES, strict=True):
        now = rival.windows[window - 1]
        earned = [each.reward or 0.0 for each in rival.windows[:window]]
        ttft = "-" if now.p99_ttft_ms is None else f"{now.p99_ttft_ms:,.0f} ms"
        table.add_row(
            f"━ {rival.agent}",
            f"{now.config.batch_cap}",
            f"{now.config.kv_budget_fraction:.0%}",
            f"{now.config.speculation_depth}",
            now.config.quantization_tier,
            ttft,
            f"{sum(earned) / window:+.3f}",
            style=style,
        )
    return table


def _animate(shown: Screen, task: TaskSpec, rivals: Sequence[Played], *, seconds: float) -> None:
    """Show the windows one after the other; the last picture stays.

    Where drawing takes longer than a window has, windows are left out, so that it ends in time.
    """
    size, pause_s, window = shown.size, seconds / task.windows, 0
    began_s = time.monotonic()
    with Live(console=shown, auto_refresh=False, screen=True) as live:
        while window < task.windows:
            due = int((time.monotonic() - began_s) / pause_s)
            window = min(max(window + 1, due), task.windows)
            picture = frame(task, rivals, window, columns=size.width, rows=size.height)
            live.update(picture, refresh=True)
            time.sleep(max(0.0, began_s + window * pause_s - time.monotonic()))
    # The other screen took the picture with it.
    shown.print(picture)


def _can_draw(shown: Screen) -> bool:
    """Whether a live chart can be shown here: a terminal, large enough, that shows braille."""
    is_large = shown.width >= NARROWEST and shown.height >= LOWEST
    return shown.is_terminal and is_large and not shown.options.ascii_only


def _waiting(shown: Screen, *, is_live: bool) -> AbstractContextManager[object]:
    if not is_live:
        return nullcontext()
    return shown.status("Loading the engine; the first time it is compiled, up to a minute")
