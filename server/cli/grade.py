"""`llmserve grade`: the grade of a saved episode, every number of which is replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from grader.grading import grade as grade_log
from llmserve_env.episode_file import SavedEpisode, parse_episode
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import GradeReport
from server.cli.conventions import AsJson, ExitStatus, write_json
from server.cli.screens import screen

FailUnder = Annotated[
    float | None, typer.Option(help="Exit with status 1 if the grade is below, 0 to 1.")
]


def grade(
    file: Annotated[Path, typer.Argument(help="What `llmserve run --save` wrote.")],
    fail_under: FailUnder = None,
    as_json: AsJson = False,
) -> ExitStatus:
    """Grade a saved episode: its actions are replayed, and numbers that differ are refused."""
    if fail_under is not None and not 0.0 <= fail_under <= 1.0:
        raise InvalidInputError(f"--fail-under must be 0 to 1, got {fail_under:g}")
    saved = _read(file)
    report = grade_log(saved.log)
    if as_json:
        write_json({"agent": saved.agent} | report.model_dump(mode="json"))
    else:
        _show(report, saved.agent)
    is_below = fail_under is not None and report.score < fail_under
    return ExitStatus.CHECK_FAILED if is_below else ExitStatus.OK


def _read(file: Path) -> SavedEpisode:
    try:
        text = file.read_text(encoding="utf-8")
        return parse_episode(text)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{file}: no text in UTF-8: {error}") from error
    except InvalidInputError as error:
        raise InvalidInputError(f"{file}: {error}") from error


def _show(report: GradeReport, agent: str | None) -> None:
    shown = screen()
    who = "" if agent is None else f"{agent} on "
    played = f"{report.windows_played} of {report.windows} windows"
    shown.print(Text(f"{who}{report.task_id}, seed {report.seed}, {played}"))
    shown.print(Text(f"Grade {report.score:.3f} (raw score {report.raw_score:+.4f})"))
    table = Table(title="Where it comes from", title_justify="left")
    for heading in ("term", "weight", "mean", "adds", "best constant adds"):
        table.add_column(heading, justify="left" if heading == "term" else "right")
    for name, term in report.breakdown.items():
        if term.weight:
            numbers = f"{term.contribution:+.4f}", f"{term.best_constant:+.4f}"
            table.add_row(name, f"{term.weight:g}", f"{term.mean:.3f}", *numbers)
    shown.print(table)
    for line in report.feedback:
        shown.print(Text(f"- {line}"))
    shown.print(Text(f"Grade: {report.scale}"))
    if report.fidelity is not None:
        shown.print(Text(f"Fidelity of {report.fidelity.line}."))
        for warning in report.fidelity.warnings:
            shown.print(Text(f"! {warning}"))
