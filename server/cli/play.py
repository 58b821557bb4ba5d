"""`llmserve play`: a person sets the knobs, against an agent on the same traffic."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.tasks import shipped_catalogue
from server.cli.contests import FIRST_TEST_SEED
from server.cli.contests import play as play_agent
from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen
from server.cli.tables import scale_line, standings_table
from server.cli.wheel import Outcome, Wheel
from server.cli.wheel_screen import HELP, picture, short_line

DEFAULT_GHOST: Final = "heuristic"
PROMPT: Final = "knobs, Enter, 10, end, help or quit> "
LEAVE, HELP_WORDS, TO_THE_END = ("quit", "q", "exit"), ("help", "?"), ("end",)


def play(
    task: Annotated[str, typer.Option(help="Task or variant.")] = "bursty_workload",
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = FIRST_TEST_SEED,
    ghost: Annotated[str, typer.Option(help="Whom to play against.")] = DEFAULT_GHOST,
    save: Annotated[Path | None, typer.Option(help="Save your episode as JSON lines.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take the wheel: set the knobs, play 1 or 10 windows, beat the ghost on the same traffic."""
    spec = shipped_catalogue().get(task)
    is_typed = sys.stdin.isatty()
    # With --json stdout is for the result: who types sees the game on stderr.
    shown = Console(stderr=True, quiet=not is_typed) if as_json else screen()
    with shown.status("The ghost plays"):
        wheel = Wheel(spec, play_agent(ghost, spec, seed))
    shown.print(Text(HELP))
    if is_typed:
        shown.print(picture(wheel, columns=shown.width, rows=shown.height))
    _drive(wheel, shown, is_typed=is_typed)
    if save is not None and wheel.windows:
        write_text(save, wheel.saved_text())
    outcome = wheel.outcome() if wheel.windows else None
    if as_json:
        write_json(_document(wheel, outcome))
    elif outcome is None:
        shown.print("Nothing was played, so there is nothing to grade.")
    else:
        _show(wheel, outcome)


def _drive(wheel: Wheel, shown: Console, *, is_typed: bool) -> None:
    """Do what is typed until it is over.

    Raises:
        LLMServeError: If the lines come from a file or a pipe and one of them will not do.
    """
    for line in _lines(shown, is_typed=is_typed):
        if line.lower() in LEAVE:
            return
        try:
            _do(wheel, line, shown)
        except LLMServeError as error:
            if not is_typed:
                raise InvalidInputError(f"{line!r:.60}: {error}") from error
            shown.print(Text(str(error), style="red"))
            continue
        if line.lower() not in HELP_WORDS:
            _look(wheel, shown, is_typed=is_typed)
        if wheel.is_over:
            return


def _do(wheel: Wheel, line: str, shown: Console) -> None:
    """One line: windows to play, knobs to turn, or both, knobs first: `batch 64 kv 50% 10`."""
    if line.lower() in HELP_WORDS:
        shown.print(Text(HELP))
        return
    words = line.replace("=", " ").split()
    if words and words[-1].lower() in TO_THE_END:
        words[-1] = str(wheel.task.windows)
    # An odd word at the end says how many windows; knobs alone play none.
    count = 1 if not words else _count(words.pop()) if len(words) % 2 else None
    wheel.turn(dict(zip(words[::2], words[1::2], strict=True)))
    if count is not None:
        wheel.advance(count)


def _count(word: str) -> int:
    if not word.isdecimal():
        raise InvalidInputError(f"{word!r:.40} is no number of windows, and a knob needs a value")
    return int(word)


def _lines(shown: Console, *, is_typed: bool) -> Iterator[str]:
    """What is typed, line by line, until the end of the input."""
    if is_typed:
        # Arrow keys and what was typed before; importing it is all that input() needs.
        import readline  # noqa: F401
    while True:
        try:
            yield (shown.input(PROMPT) if is_typed else input()).strip()
        except EOFError:
            return


def _look(wheel: Wheel, shown: Console, *, is_typed: bool) -> None:
    if is_typed:
        shown.clear()
        shown.print(picture(wheel, columns=shown.width, rows=shown.height))
    elif wheel.windows:
        shown.print(Text(short_line(wheel)))


def _show(wheel: Wheel, outcome: Outcome) -> None:
    shown = screen()
    played = f"{len(wheel.windows)} of {wheel.task.windows} windows"
    title = f"{wheel.task.task_id}, seed {wheel.ghost.seed}, {played}"
    rows = sorted(
        (outcome.you, outcome.ghost), key=lambda row: row.summary.mean_reward, reverse=True
    )
    shown.print(standings_table(wheel.task, [wheel.ghost.seed], rows, title=title))
    shown.print(Text(scale_line(wheel.task)))
    for line in () if outcome.report is None else outcome.report.feedback:
        shown.print(Text(f"- {line}"))


def _document(wheel: Wheel, outcome: Outcome | None) -> dict[str, Any]:
    report = None if outcome is None else outcome.report
    return {
        "environment_version": shipped_catalogue().environment_version,
        "task_id": wheel.task.task_id,
        "seed": wheel.ghost.seed,
        "windows_played": len(wheel.windows),
        "you": None if outcome is None else outcome.you.as_json(),
        "ghost": None if outcome is None else outcome.ghost.as_json(),
        "grade": None if report is None else report.model_dump(mode="json"),
    }
