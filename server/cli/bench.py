"""`llmserve bench`: agents over tasks and seeds, compared as papers do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from agents.choices import split_list, task_ids_of
from agents.parallel import PLACES, Workers
from agents.registry import agent_names, make_agent
from llmserve_env.errors import InvalidInputError
from llmserve_env.splits import split_seeds
from server.bench.grid import Grid, open_kept, play_grid, records_of
from server.bench.report import document, write_report
from server.bench.results import TITLES, Results, results_of
from server.bench.sheets import sheets_of
from server.bench.validation import PAPER_SEEDS
from server.cli.conventions import AsJson, write_json
from server.cli.screens import progress_bar, screen

bench = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Agents over tasks and seeds, compared as papers do. docs/benchmark.md.",
)
ALL: Final = "all"
FEWEST_SEEDS: Final = 2

Jobs = Annotated[int, typer.Option(min=1, help="Processes of this machine.")]
Parallel = Annotated[str, typer.Option(help=f"{' or '.join(PLACES)}, which is an extra.")]
Address = Annotated[str, typer.Option(help="Of the Ray cluster: auto, local, HOST:PORT, ray://.")]
CORES: Final = os.cpu_count() or 1


@bench.callback()
def _options() -> None:
    """Stay a verb of verbs, although there is one so far."""


@bench.command()
def paper(
    agent: Annotated[
        list[str] | None, typer.Option(help="Names, as of evaluate.py; all that ship if left out.")
    ] = None,
    task: Annotated[str, typer.Option(help="Ids; all are the graded.")] = "all,variants",
    seeds: Annotated[int, typer.Option(help="Test seeds per task.")] = PAPER_SEEDS,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path(
        "bench"
    ),
    jobs: Jobs = CORES,
    parallel: Parallel = "processes",
    address: Address = "auto",
    as_json: AsJson = False,
) -> None:
    """Play every agent on every task and test seed; write tables, figures and submissions.

    A run that was ended or killed goes on where it stopped: run it again with the same --out.
    """
    grid = _grid(agent or [ALL], task, seeds)
    workers = workers_at(jobs, parallel, address)
    with open_kept(out) as kept:
        missing = sum(key not in kept for key in grid.keys())  # noqa: SIM118
        with progress_bar("episodes", missing) as advance:
            played = play_grid(grid, kept, workers=workers, on_episode=advance)
        results = results_of(grid, records_of(grid, kept))
        files = write_report(results, kept, out)
    if as_json:
        _write_json(results, played, out, files)
        return
    _show(results)
    whole = len(grid.keys())
    line = f"{whole} episodes, {played} played now, {whole - played} kept from before"
    screen().print(Text(f"{line}. Wrote {out / 'README.md'} and {len(files) - 1} other files."))


def workers_at(jobs: int, parallel: str, address: str) -> Workers:
    """Where a verb's jobs are played.

    Raises:
        InvalidInputError: If there is no such place.
    """
    for place in PLACES:
        if parallel == place:
            return Workers(jobs, place, address)
    raise InvalidInputError(f"--parallel must be {' or '.join(PLACES)}, got {parallel!r}")


def _grid(agents: list[str], task: str, seeds: int) -> Grid:
    names = [name for given in agents for name in split_list(given)]
    names = [each for name in names for each in (agent_names() if name == ALL else (name,))]
    tasks = task_ids_of(split_list(task))
    if not names or not tasks:
        raise InvalidInputError("--agent and --task need at least one name each")
    if seeds < FEWEST_SEEDS:
        raise InvalidInputError(f"--seeds must be at least {FEWEST_SEEDS}, got {seeds}")
    for name in names:
        make_agent(name)
    return Grid.of(list(dict.fromkeys(names)), tasks, split_seeds("test", seeds))


def _write_json(results: Results, played: int, out: Path, files: list[str]) -> None:
    found = document(results)
    for group in found["groups"].values():
        del group["episode_scores"], group["profiles"]
    write_json({"out": str(out), "files": files, "episodes_played": played} | found)


def _show(results: Results) -> None:
    shown = screen()
    titles = {f"aggregates_{group.name}": TITLES[group.name] for group in results.groups}
    for sheet in sheets_of(results):
        if sheet.name in titles:
            shown.print(sheet.table(f"Over the {titles[sheet.name]}"))
