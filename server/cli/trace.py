"""`llmserve trace`: imports recordings of traffic, describes them, fits generators to them."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from llmserve_env.traces import (
    FIT_SUFFIX,
    TRACE_PREFIX,
    TRACE_SUFFIX,
    check_trace_name,
    read_fit,
    trace_file,
    trace_files,
    traces_folder,
)
from server.cli.conventions import AsJson, write_json
from server.cli.screens import progress_bar, screen
from server.cli.trace_tables import (
    candidates_line,
    card_line,
    check_table,
    duration,
    number,
    stats_lines,
    stats_picture,
    stats_table,
)
from simulator.presets import preset_names, read_preset
from simulator.trace_files.card import UNKNOWN_LICENCE, read_card
from simulator.trace_files.formats import FORMAT_NAMES
from simulator.trace_files.importing import import_trace
from simulator.trace_fit import fit_trace
from simulator.trace_stats import TraceStats, trace_stats
from simulator.traces import read_trace

trace = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Your own traffic: import it, look at it, fit a generator to it, play it as trace:NAME.",
)
NAMED: Final = "An imported trace by its name, or a file."
Replace = Annotated[bool, typer.Option("--replace", help="Replace what has this name.")]


@trace.command("import")
def import_file(
    source: Annotated[Path, typer.Argument(help="CSV, JSON Lines, JSON or parquet, also packed.")],
    name: Annotated[str | None, typer.Option(help="Its name; the file's if left out.")] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", help=f"One of {', '.join(FORMAT_NAMES)}; detected if left out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here, not among the named traces.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the source; kept with it.")] = UNKNOWN_LICENCE,
    seed: Annotated[int, typer.Option(min=0, help="Of spreading coarse times.")] = 0,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Import a recording: requests as numbers, by time, none of their text."""
    if out is not None and name is not None:
        raise InvalidInputError("--name is for named traces, --out for a file; give one of them")
    target = _target(name or _name_of(source), TRACE_SUFFIX) if out is None else out
    _refuse_taken(target, replace)
    with progress_bar("batches of requests", None) as advance:
        card = import_trace(
            source,
            target,
            format_name=format_name,
            licence=licence,
            jitter_seed=seed,
            on_rows=advance,
        )
        stats = trace_stats(target)
    task_id = f"{TRACE_PREFIX}{target.stem}" if out is None else None
    if as_json:
        document = {"path": str(target), "task_id": task_id, "card": card.model_dump(mode="json")}
        write_json(document | {"stats": asdict(stats)})
        return
    _show_stats(stats, card_line(card))
    play = f"play it as task {task_id}" if task_id else "gymnasium.make plays it by its path"
    screen().print(Text(f"Wrote {target}; {play}"), soft_wrap=True)


@trace.command("stats")
def stats_of(
    which: Annotated[str, typer.Argument(help=NAMED)],
    svg: Annotated[Path | None, typer.Option(help="Draw the pictures to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rates, burstiness and lengths of a trace, with pictures."""
    path = _recording(which)
    card, stats = read_card(path), trace_stats(path)
    if svg is not None:
        write_text(svg, stats_picture(stats))
    if as_json:
        kept = None if card is None else card.model_dump(mode="json")
        write_json({"path": str(path), "card": kept, "stats": asdict(stats)})
        return
    _show_stats(stats, "no card: not imported" if card is None else card_line(card))


@trace.command("list")
def list_traces(as_json: AsJson = False) -> None:
    """Imported traces, fits, and the presets that come with the project."""
    own = [_entry(name, path) for name, path in trace_files().items()]
    presets = [
        {"name": name, "description": read_preset(name).description} for name in preset_names()
    ]
    if as_json:
        write_json({"folder": str(traces_folder()), "traces": own, "presets": presets})
        return
    table = Table(title=f"Traces and fits in {traces_folder()}", title_justify="left")
    for heading in ("task id", "kind", "requests", "duration", "licence", "source"):
        table.add_column(heading, overflow="fold")
    for entry in own:
        length = entry["duration_s"]
        table.add_row(
            entry["task_id"],
            entry["kind"],
            number(entry["requests"]),
            "-" if length is None else duration(length),
            entry["licence"],
            entry["source"],
        )
    shown = screen()
    shown.print(table if own else "No trace yet: llmserve trace import FILE")
    shipped = Table(title="Presets, which the variants of the tasks play", title_justify="left")
    shipped.add_column("preset")
    shipped.add_column("what it is")
    for entry in presets:
        shipped.add_row(entry["name"], entry["description"])
    shown.print(shipped)


@trace.command("fit")
def fit(
    which: Annotated[str, typer.Argument(help=NAMED)],
    name: Annotated[str | None, typer.Option(help="Of the fit; NAME-fit if left out.")] = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Fit a generator to a trace and show how near it comes."""
    path = _recording(which)
    target = _target(name or f"{path.stem}-fit"[:64], FIT_SUFFIX)
    _refuse_taken(target, replace)
    card = read_card(path)
    report = fit_trace(
        read_trace(path),
        source=path.stem if card is None else card.source,
        licence=UNKNOWN_LICENCE if card is None else card.licence,
    )
    write_text(target, report.preset.model_dump_json(indent=1) + "\n")
    task_id = f"{TRACE_PREFIX}{target.stem}"
    if as_json:
        tried = [{"family": each.label, "error": each.error} for each in report.candidates]
        document: dict[str, Any] = {"path": str(target), "task_id": task_id, "candidates": tried}
        document["check"] = [asdict(row) for row in report.check]
        write_json(document | {"preset": report.preset.model_dump(mode="json")})
        return
    shown = screen()
    shown.print(check_table(report.check, report.runs))
    shown.print(Text(candidates_line(report.candidates)))
    shown.print(Text(f"Wrote {target}; play it as task {task_id}"), soft_wrap=True)


def _entry(name: str, path: Path) -> dict[str, Any]:
    """What the list says of a file; of one that cannot be read, why."""
    entry: dict[str, Any] = {"task_id": f"{TRACE_PREFIX}{name}", "kind": "trace"}
    found: dict[str, Any]
    unknown = {"requests": None, "duration_s": None, "licence": UNKNOWN_LICENCE}
    try:
        if path.suffix == FIT_SUFFIX:
            preset = read_fit(path)
            found = {"kind": "fit", "licence": preset.licence, "source": preset.description}
        else:
            card = read_card(path)
            if card is None:
                found = {"source": "not imported by llmserve"}
            else:
                found = card.model_dump(include={"duration_s", "licence", "source"})
                found["requests"] = card.rows
    except InvalidInputError as error:
        found = {"kind": "broken", "source": str(error)}
    return entry | unknown | found


def _recording(which: str) -> Path:
    """The recording that is meant: a name without a slash that is no file here, or a path."""
    path = Path(which)
    if not path.is_file() and path.name == which and not which.endswith(TRACE_SUFFIX):
        path = trace_file(which)
    if path.suffix == FIT_SUFFIX:
        raise InvalidInputError(f"{path.stem!r} is a fit, which has no requests; name a trace")
    return path


def _name_of(source: Path) -> str:
    """The file's name without its suffixes, fit to be the name of a trace."""
    stem = source.name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:64] or "trace"


def _target(name: str, suffix: str) -> Path:
    check_trace_name(name)
    return traces_folder() / f"{name}{suffix}"


def _refuse_taken(target: Path, replace: bool) -> None:
    taken = [target, target.with_suffix(FIT_SUFFIX), target.with_suffix(TRACE_SUFFIX)]
    holder = next((path for path in taken if path.exists()), None)
    if holder is not None and not (replace and holder == target):
        raise InvalidInputError(
            f"{holder} exists; --replace replaces a file of the same kind, another name keeps it"
        )


def _show_stats(stats: TraceStats, origin: str) -> None:
    shown = screen()
    shown.print(stats_table(stats))
    for line in (origin, *stats_lines(stats)):
        shown.print(Text(line), soft_wrap=True)
