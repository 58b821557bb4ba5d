"""`llmserve recommend`: a trace and objectives -> settings, whether to adapt, and a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from agents.fingerprints import profile_digest
from agents.recommend.answer import Answer, answer
from agents.recommend.ask import Ask, draft_acceptance, parse_ask, study_task
from agents.recommend.journal import Journal
from agents.recommend.notes import notes
from agents.recommend.study import Study
from agents.recommend.traffic import WINDOWS, Traffic, divide, write_library
from agents.recommend.vllm_flags import (
    flag_notes,
    kv_cache_bytes,
    reserved_gb,
    serve_commands,
)
from agents.result_files import write_json as write_json_file
from agents.result_files import write_text
from agents.twin import LIBRARY_EPISODES
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen, working
from server.recommend.recordings import Recording, found_recording
from server.recommend.report import report_page
from server.recommend.verdict import sentences
from simulator.hardware import BYTES_PER_GB
from simulator.trace_stats import trace_stats
from simulator.traces import read_trace
from simulator.validity import fidelity_line

JOURNAL: Final = "progress.jsonl"
IMPORTED: Final = ".traffic.parquet"
REPORT, POLICY, DOCUMENT, FLAGS = "report.html", "policy.json", "report.json", "vllm_serve.sh"
SCHEDULE: Final = "schedule.json"


def recommend(  # noqa: PLR0913  # one argument an option
    trace: Annotated[
        str, typer.Option(help="A recording in any format of `trace import`, or trace:NAME.")
    ],
    profile: Annotated[str, typer.Option(help="GPU and model, such as a100-llama3-8b.")],
    slo_ttft_p99: Annotated[float, typer.Option(help="Objective, milliseconds.")],
    slo_itl_p99: Annotated[float, typer.Option(help="Objective, milliseconds.")],
    out: Annotated[Path, typer.Option(help="Folder for the report and all files.")],
    gpus: Annotated[int, typer.Option(help="How many serve the trace.")] = 1,
    memory_gb: Annotated[
        float | None, typer.Option(help="Granted of each GPU; all of it if left out.")
    ] = None,
    least_quality: Annotated[
        float, typer.Option(help="Share of the model's scores that a tier must keep.")
    ] = 0.99,
    drafts: Annotated[bool, typer.Option(help="Whether a draft model may be used.")] = True,
    switching: Annotated[
        str, typer.Option(help="What a change of tier costs: standby, warm or cold.")
    ] = "warm",
    margin: Annotated[
        float, typer.Option(help="Share of the objectives kept free on earlier traffic.")
    ] = 0.1,
    candidates: Annotated[int, typer.Option(help="Constants drawn before the search.")] = 192,
    planner: Annotated[bool, typer.Option(help="Let the planner take part; it is slow.")] = True,
    threads: Annotated[
        int | None, typer.Option(help="How many play; one a core if left out.", min=1, max=64)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what --out holds of a run before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend settings for recorded traffic: searched on its earlier part, judged on its later.

    A run that was killed goes on where it stopped when it is called again.
    """
    ask = parse_ask(
        {
            "profile": profile,
            "slo_ttft_p99_ms": slo_ttft_p99,
            "slo_itl_p99_ms": slo_itl_p99,
            "gpus": gpus,
            "memory_gb": memory_gb,
            "least_quality": least_quality,
            "drafts": drafts,
            "switching": switching,
            "margin": margin,
            "planner": planner,
            "candidates": candidates,
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    if fresh:
        (out / JOURNAL).unlink(missing_ok=True)
    recording = found_recording(trace, out)
    traffic = divide(read_trace(recording.path), draft_acceptance(ask.replica_gpus))
    with working("cutting the trace") as on_step:
        document, found = _worked_out(ask, recording, traffic, out, threads, on_step)
    _write(out, document, found)
    if as_json:
        write_json(document)
    else:
        _tell(out, document)


def _worked_out(
    ask: Ask,
    recording: Recording,
    traffic: Traffic,
    out: Path,
    threads: int | None,
    on_step: Callable[[str], None],
) -> tuple[dict[str, Any], Answer]:
    library = out / IMPORTED
    least_s = float(WINDOWS * LIBRARY_EPISODES)
    write_library(traffic, library, replicas=ask.replicas, least_s=least_s)
    fingerprint = {
        "version": shipped_catalogue().environment_version,
        "trace": recording.sha256,
        "profile_content": profile_digest(ask.profile),
        **ask.model_dump(mode="json"),
    }
    try:
        with Journal(out / JOURNAL, fingerprint) as journal:
            study = Study(
                ask,
                traffic,
                journal,
                library=library,
                threads=threads or os.cpu_count() or 1,
                on_step=on_step,
            )
            found = answer(study)
    finally:
        library.unlink(missing_ok=True)
    task = study_task(
        ask,
        library=str(library),
        windows=WINDOWS,
        token_budget=found.constant.token_budget,
        start=found.constant.action,
        active=study.active,
    )
    return _document(study, found, recording, task), found


def _document(study: Study, found: Answer, recording: Recording, task: TaskSpec) -> dict[str, Any]:
    """The answer with everything that it is about."""
    traffic, stats = study.traffic, trace_stats(recording.path)
    return {
        "environment_version": shipped_catalogue().environment_version,
        "ask": study.ask.model_dump(mode="json"),
        "gpu": study.profile.gpu.name,
        "model": study.profile.model.name,
        "usd_per_gpu_hour": study.profile.gpu.usd_per_hour,
        "tiers": list(study.tiers),
        "trace": recording.facts | {"stats": asdict(stats)},
        "parts": {
            "by_days": traffic.by_days,
            "cut_s": traffic.later.start_s,
            "duration_s": traffic.trace.duration_s,
        },
        **found.document,
        "policy": found.policy.model_dump(mode="json", exclude_none=True, exclude={"made_for"}),
        "vllm_serve": serve_commands(study.ask, task, found.constant),
        "vllm_notes": flag_notes(task, found.constant),
        "reserved_gb": reserved_gb(task, found.constant),
        "kv_cache_gb": kv_cache_bytes(task, found.constant) / BYTES_PER_GB,
        "fidelity": f"Fidelity of {fidelity_line(study.ask.profile)}",
        "knobs": dict(study.profile.switching.labels) | {"token_budget": "cold"},
        "notes": notes(study, found, recording.facts),
    }


def _write(out: Path, document: dict[str, Any], found: Answer) -> None:
    made_for = {name: document[name] for name in ("environment_version", "ask", "parts")}
    made_for["trace_sha256"] = document["trace"]["sha256"]
    policy = found.policy.model_copy(update={"made_for": made_for})
    write_text(out / POLICY, policy.model_dump_json(indent=1, exclude_none=True) + "\n")
    lines = ["#!/bin/sh", *(f"# {note}" for note in document["vllm_notes"])]
    write_text(out / FLAGS, "\n".join([*lines, *document["vllm_serve"]]) + "\n")
    schedule = {"knobs": document["knobs"], "levels": document["schedule"]}
    write_json_file(out / SCHEDULE, schedule)
    write_json_file(out / DOCUMENT, document)
    write_text(out / REPORT, report_page(document))


def _tell(out: Path, document: dict[str, Any]) -> None:
    shown = screen()
    for what, line in sentences(document).items():
        shown.print(Text(f"{what}: {line}"), soft_wrap=True)
    shown.print(policies_table(document))
    for command in document["vllm_serve"]:
        shown.print(Text(command), soft_wrap=True)
    shown.print(Text(f"Wrote {out / REPORT} and {POLICY}, {FLAGS}, {SCHEDULE}, {DOCUMENT} beside"))


def policies_table(document: dict[str, Any]) -> Table:
    """A row a policy, the constant and vLLM's default first."""
    table = Table(title="On later traffic", title_justify="left")
    for heading in ("", "p99 TTFT ms", "p99 ITL ms", "within", "$ per 1M", "holds"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [("best constant", document["constant"]), ("vLLM default", document["default"])]
    rows += [(row["name"], row) for row in document["policies"]]
    for name, row in rows:
        later = row["later"]
        table.add_row(
            name,
            _number(later["p99_ttft_ms"], ",.0f"),
            _number(later["p99_itl_ms"], ",.1f"),
            _number(later["met_fraction"], ".2%"),
            _number(1e3 * later["usd_per_1k"], ".3f"),
            "yes" if row["holds"] else "no",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "never" if value is None else format(value, form)
