"""`llmserve validate`: the actions of a submission are executed again; do they earn the claims?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from llmserve_env.submission_file import Submission, read_submission
from server.bench.validation import (
    Episode,
    TaskVerdict,
    check_submission,
    execute,
    missing_of_paper,
    verdicts,
)
from server.cli.bench import CORES, Address, Jobs, Parallel, workers_at
from server.cli.conventions import AsJson, ExitStatus, write_json
from server.cli.screens import progress_bar, screen


def validate(
    file: Annotated[Path, typer.Argument(help="What `llmserve bench paper` wrote, or you.")],
    jobs: Jobs = CORES,
    parallel: Parallel = "processes",
    address: Address = "auto",
    as_json: AsJson = False,
) -> ExitStatus:
    """Execute a submission's actions and compare what they earn with what it claims.

    Exit status 1 if a claim does not hold.
    """
    submission = read_submission(file)
    check_submission(submission)
    workers = workers_at(jobs, parallel, address)
    with progress_bar("episodes", len(submission.lines)) as advance:
        episodes = execute(submission, workers=workers, on_episode=advance)
    found = verdicts(submission, episodes)
    is_ok = all(each.is_ok for each in episodes) and all(each.is_ok for each in found)
    if as_json:
        _write(submission, episodes, found, is_ok)
    else:
        _show(submission, episodes, found, is_ok)
    return ExitStatus.OK if is_ok else ExitStatus.CHECK_FAILED


def _write(
    submission: Submission, episodes: list[Episode], found: list[TaskVerdict], is_ok: bool
) -> None:
    write_json(
        {
            "agent": submission.head.agent,
            "environment_version": submission.head.environment_version,
            "sees_future": submission.head.sees_future,
            "is_ok": is_ok,
            "missing_of_paper": missing_of_paper(submission),
            "tasks": [asdict(each) | {"is_ok": each.is_ok} for each in found],
            "episodes": [asdict(each) | {"is_ok": each.is_ok} for each in episodes],
        }
    )


def _show(
    submission: Submission, episodes: list[Episode], found: list[TaskVerdict], is_ok: bool
) -> None:
    shown = screen()
    for each in episodes:
        claim = "" if each.is_ok else f", claimed {each.claimed:+.9f}"
        state = "ok     " if each.is_ok else "differs"
        line = f"{state} {each.task_id} seed {each.seed}: raw score {each.found:+.9f}{claim}"
        shown.print(Text(line), soft_wrap=True)
    head = submission.head
    who = f"{head.agent} (says that it sees the future)" if head.sees_future else head.agent
    table = Table(title=f"{who}, environment {head.environment_version}", title_justify="left")
    for heading in ("task", "episodes", "score", "95 %", "raw score", "95 %", "the claims"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for row in found:
        score = "-" if row.score is None else f"{row.score.value:.3f}"
        ends = "-" if row.score is None else f"{row.score.low:.3f} to {row.score.high:.3f}"
        raw = f"{row.raw.value:.4f}", f"{row.raw.low:.4f} to {row.raw.high:.4f}"
        table.add_row(row.task_id, str(row.episodes), score, ends, *raw, _claims(row))
    shown.print(table)
    missing = missing_of_paper(submission)
    shown.print(
        Text(
            "It holds all episodes of the paper's benchmark."
            if not missing
            else f"{missing} episodes of the paper's benchmark are not in it."
        )
    )
    differing = sum(not each.is_ok for each in episodes)
    verdict = "every claim holds" if is_ok else "NOT every claim holds"
    shown.print(Text(f"{len(episodes) - differing} episodes ok, {differing} differ; {verdict}."))


def _claims(row: TaskVerdict) -> str:
    if row.is_ok:
        return "ok"
    score = "no score" if row.claimed_score is None else f"score {row.claimed_score:.3f}"
    return f"differ: {score}, raw {row.claimed_raw:.4f}"
