"""`llmserve calibrate`: loads one's own server, fits a profile to it, says how far off that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import QuantizationTier
from server.calibration.journal import (
    PLAN_FILE,
    Journal,
    Progress,
    Spent,
    check_same_plan,
    open_journal,
    read_progress,
)
from server.calibration.page import page
from server.calibration.results import (
    fit_profile,
    fitted_profile_of,
    keep_profile,
    notes_of,
    read_sources,
    results_of,
)
from server.calibration.running import (
    Budget,
    ServerFailedError,
    check_host,
    cost_of_preparing,
    cost_of_rest,
    run_plan,
)
from server.cli.calibrate_options import (
    budget_for,
    client_settings,
    server_limits,
    shipped,
    with_path,
)
from server.cli.calibrate_tables import (
    cost_document,
    errors_table,
    fit_table,
    loads_table,
    results_document,
)
from server.cli.conventions import AsJson, ExitStatus, UnreachableError, write_json
from server.cli.screens import progress_bar, screen
from server.real_client import RealClient
from server.real_settings import RealSettings, shown_url
from simulator.calibration.closed_loop import ClosedLoop
from simulator.calibration.plans import grid_of, kv_tokens, planned_s, visits_of
from simulator.calibration.records import PLAN_FORMAT, Api, Plan, PlanName
from simulator.hardware import load_profile, profile_names
from simulator.profile_files import profile_path

REPORT_FILE: Final = "report.html"
MAX_MODEL_LEN: Final = 8_192
Folders = Annotated[list[Path], typer.Argument(help="Folders of `calibrate run`, one a tier.")]

calibrate = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="A GPU profile fitted to your own server: run a bounded load, fit, report.",
)


@calibrate.command("run")
def run(  # noqa: PLR0913  # one argument an option
    url: Annotated[str, typer.Option(help="The server, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="The model, as the server calls it.")],
    profile: Annotated[str, typer.Option(help="The shipped profile that comes nearest to it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the measurements.")],
    plan: Annotated[PlanName, typer.Option(help="How much is measured.")] = "quick",
    tier: Annotated[QuantizationTier, typer.Option(help="What the server serves.")] = "FP16",
    api: Annotated[
        Api, typer.Option(help="completions: exact lengths by ignore_eos (vLLM, llama.cpp).")
    ] = "completions",
    host: Annotated[
        str | None, typer.Option(help="Name the URL's host here if it is not this machine.")
    ] = None,
    key_from: Annotated[
        str | None, typer.Option(help="Environment variable that holds the server's key.")
    ] = None,
    max_num_seqs: Annotated[int, typer.Option(help="As the server was started.")] = 256,
    max_num_batched_tokens: Annotated[int, typer.Option(help="As the server was started.")] = 2048,
    max_model_len: Annotated[
        int | None, typer.Option(help="As the server was started; the model's, 8192 at most.")
    ] = None,
    most_clients: Annotated[
        int | None, typer.Option(min=4, max=512, help="At once; the plan's if left out.")
    ] = None,
    longest_prompt: Annotated[
        int | None, typer.Option(min=64, max=30_000, help="Tokens; the plan's if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of lengths, order and words.")] = 0,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="All runs together; the plan's and a quarter.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="All runs together; the plan's and a quarter.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=1.0, max=600.0, help="Of a request.")] = 120.0,
    send: Annotated[bool, typer.Option("--send", help="Really load the server.")] = False,
    as_json: AsJson = False,
) -> None:
    """Load a server by a plan and time its streams; without --send say only what would be asked.

    Nothing goes to another host than the URL's, and to one that is not this machine only if it is
    named. Killed or interrupted, the same command goes on where it stopped. No prompt and no key is
    kept.
    """
    url = with_path(url)
    settings = client_settings(url, model, api, key_from, timeout_s)
    check_host(url, host)
    base = load_profile(shipped(profile))
    base.tier(tier)
    context = (
        min(base.model.context_tokens, MAX_MODEL_LEN) if max_model_len is None else max_model_len
    )
    limits = server_limits(max_num_seqs, max_num_batched_tokens, context)
    grid = grid_of(plan, most_clients=most_clients, longest_prompt=longest_prompt)
    wanted = Plan(
        format=PLAN_FORMAT,
        name=plan,
        seed=seed,
        profile=profile,
        server=shown_url(url),
        model=model,
        api=api,
        tier=tier,
        limits=limits,
        visits=visits_of(grid, limits, seed=seed),
    )
    budget = budget_for(wanted, max_requests, max_tokens)
    if send:
        _send(wanted, out, settings, budget, as_json=as_json)
    else:
        _show_cost(_progress(wanted, out), budget, as_json=as_json)


@calibrate.command("fit")
def fit(
    folders: Folders,
    name: Annotated[str, typer.Option(help="Of the profile, among your own.")],
    profile: Annotated[
        str | None, typer.Option(help="Base; that of the measurement if left out.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what has this name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit host time, API time and efficiency factors to what was measured; keep it as a profile."""
    if name in profile_names():
        raise InvalidInputError(f"{name!r} is a shipped profile; take another --name")
    path = profile_path(name)
    if path.exists() and not replace:
        raise InvalidInputError(f"{path} exists; --replace replaces it")
    sources = read_sources(folders)
    file = fit_profile(sources, shipped(profile or sources[0].plan.profile), name)
    keep_profile(folders, name, file)
    results = results_of(sources, name)
    if as_json:
        write_json({"path": str(path)} | results_document(results))
        return
    shown = screen()
    shown.print(fit_table(name, file))
    shown.print(errors_table(results))
    for line in (*results.notes, results.verdict, f"Wrote {path}; play on it: --profile {name}"):
        shown.print(Text(line), soft_wrap=True)


@calibrate.command("report")
def report(
    folders: Folders,
    profile: Annotated[
        str | None, typer.Option(help="Which profile; the one last fitted if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; report.html beside the first.")
    ] = None,
    as_json: AsJson = False,
) -> ExitStatus:
    """Hold a profile against what was measured: a page, and an exit status of 1 if it fails."""
    results = results_of(read_sources(folders), profile or fitted_profile_of(folders[0]))
    path = out or folders[0] / REPORT_FILE
    write_text(path, page(results))
    if as_json:
        write_json({"path": str(path)} | results_document(results))
    else:
        shown = screen()
        shown.print(errors_table(results))
        for line in (*results.notes, results.verdict, f"Wrote {path}"):
            shown.print(Text(line), soft_wrap=True)
    return ExitStatus.OK if results.is_passed else ExitStatus.CHECK_FAILED


def _send(plan: Plan, out: Path, settings: RealSettings, budget: Budget, *, as_json: bool) -> None:
    with open_journal(out, plan) as journal:
        left = len(journal.progress.to_play())
        try:
            with progress_bar("visits", left) as advance:
                asyncio.run(_run(journal, settings, budget, advance))
        except ServerFailedError as error:
            raise UnreachableError(str(error)) from error
        progress = journal.progress
    notes = notes_of(progress)
    if as_json:
        write_json({"path": str(out), "notes": notes} | cost_document(progress, Spent(), budget))
        return
    shown = screen()
    shown.print(loads_table(progress))
    for line in (
        *notes,
        f"{progress.spent.requests:,} requests and {progress.spent.tokens:,} tokens were asked at "
        f"most, probes included. Now: llmserve calibrate fit {out} --name NAME",
    ):
        shown.print(Text(line), soft_wrap=True)


async def _run(
    journal: Journal, settings: RealSettings, budget: Budget, on_visit: Callable[[object], None]
) -> None:
    client = RealClient(settings, settings.real_base_url, is_direct=True)
    try:
        await run_plan(journal, client, budget, settings=settings, on_visit=on_visit)
    finally:
        await client.close()


def _progress(plan: Plan, out: Path) -> Progress:
    """What is there already; nothing is written."""
    if not (out / PLAN_FILE).exists():
        return Progress(plan)
    progress = read_progress(out)
    if not progress.attempts:
        return Progress(plan)
    check_same_plan(out, plan)
    return progress


def _show_cost(progress: Progress, budget: Budget, *, as_json: bool) -> None:
    plan, rest = progress.plan, cost_of_rest(progress)
    preparing = cost_of_preparing(plan) if rest.requests else Spent()
    cost = Spent(rest.requests + preparing.requests, rest.tokens + preparing.tokens)
    visits = [plan.visits[number] for number in progress.to_play()]
    seconds = planned_s(visits, ClosedLoop(plan.profile, plan.tier, plan.limits))
    room = kv_tokens(plan.visits)
    if as_json:
        facts = {"kv_tokens": room, "seconds_if_as_fast_as_the_profile": round(seconds, 1)}
        write_json({"is_sent": False} | cost_document(progress, cost, budget) | facts)
        return
    shown = screen()
    shown.print(loads_table(progress))
    for line in (
        f"Still to ask: {cost.requests:,} requests, {cost.tokens:,} tokens, probes included; never "
        f"more than {budget.requests:,} requests and {budget.tokens:,} tokens in all.",
        f"About {seconds / 60:.1f} min if the server is as fast as {plan.profile}. Its KV cache "
        f"must hold {room:,} tokens.",
        "Nothing was sent. With --send it is.",
    ):
        shown.print(Text(line), soft_wrap=True)
