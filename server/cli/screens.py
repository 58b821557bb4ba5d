"""Where a verb shows things: tables on stdout, bars on stderr where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_WIDTH: Final = 140  # columns where the output is no terminal


class Screen(Console):
    """Rich's console, which leaves it to the command what a reader that has gone means."""

    def on_broken_pipe(self) -> None:
        """Go on raising what was raised; rich itself would exit with status 1."""
        raise BrokenPipeError


def screen() -> Screen:
    """Stdout, as wide as the terminal, or as PLAIN_WIDTH where there is none."""
    return Screen(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[object], None]]:
    """What to call after every step; a bar on stderr where that is a terminal, nothing elsewhere.

    Args:
        what: What is counted, in the plural.
        total: How many there will be; None if nobody knows.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    is_hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=is_hidden, transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda _: progress.advance(bar)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """What to call with a word before every piece of work, where nobody knows how many there are.

    On a terminal stderr shows the word, how many pieces were begun and the time since the start.

    Args:
        what: Is done until the first piece begins.
    """
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}, piece {task.completed}"),
        TimeElapsedColumn(),
    )
    is_hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=is_hidden, transient=True) as progress:
        line = progress.add_task(what, total=None)
        yield lambda word: progress.update(line, description=word, advance=1)
