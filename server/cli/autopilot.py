"""`llmserve autopilot`: a policy runs a live vLLM that serves its own users' traffic."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr
from rich.text import Text

from agents.base import Clairvoyant
from agents.evaluation import make_checked
from agents.registry import PPO
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.autopilot.audit import Audit, Decision
from server.autopilot.observing import ESTIMATED, UNMEASURED, Objectives, Observer
from server.autopilot.pilot import LIVE_KNOBS, Autopilot, Plan, Tally, ignored_knobs
from server.autopilot.readings import MetricsPage, NoMetricsError
from server.cli.conventions import AsJson, UnreachableError, write_json
from server.cli.screens import screen
from server.real_slo_watchdog import SloWatchdog
from server.real_vllm_control import VllmControl, VllmControlError

TOKEN_VARIABLE: Final = "LLMSERVE_REAL_CONTROL_TOKEN"
WEIGHTS_SUFFIX: Final = ".npz"


def autopilot(  # noqa: PLR0913  # one argument an option
    url: Annotated[str, typer.Option(help="The vLLM server, such as http://127.0.0.1:8000.")],
    control_url: Annotated[
        str, typer.Option(help="The plugin's channel, such as http://127.0.0.1:8001.")
    ],
    slo_ttft_p99: Annotated[float, typer.Option(help="Objective, milliseconds.", min=1.0)],
    slo_itl_p99: Annotated[float, typer.Option(help="Objective, milliseconds.", min=0.1)],
    policy: Annotated[
        str, typer.Option(help="As `llmserve agents` lists, or a FILE.npz of train.py.")
    ] = "ppo_generalist",
    task: Annotated[
        str, typer.Option(help="The task whose knobs the policy knows.")
    ] = "bursty_workload",
    hold: Annotated[
        list[str] | None, typer.Option(help="A knob to leave as it is; may be repeated.")
    ] = None,
    window_s: Annotated[
        float,
        typer.Option(help="Seconds between decisions; policies learnt at 1.", min=0.2, max=60),
    ] = 1.0,
    windows: Annotated[
        int | None, typer.Option(help="Stop after so many; without end if left out.", min=1)
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Decide and log; move nothing, take no lease.")
    ] = False,
    audit: Annotated[
        Path | None, typer.Option(help="Append every decision to this file, as JSON lines.")
    ] = None,
    watchdog_windows: Annotated[
        int,
        typer.Option(help="Collapsed windows until vLLM's defaults return for as many; 0: never."),
    ] = 10,
    watchdog_slo: Annotated[
        float,
        typer.Option(help="Collapsed: a smaller share meets its objectives.", min=0.0, max=1.0),
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Let a policy move the knobs of a live vLLM; it sends no requests of its own.

    The channel's token, if it has one, is taken from LLMSERVE_REAL_CONTROL_TOKEN. Ctrl-C and
    SIGTERM give the server its defaults back; if this process dies, its lease runs out.
    """
    spec = _without(shipped_catalogue().get(task), hold or [])
    agent = make_checked(f"{PPO}:{policy}" if policy.endswith(WEIGHTS_SUFFIX) else policy)
    if isinstance(agent, Clairvoyant):
        raise InvalidInputError(f"policy {policy!r} looks into the future, which no server has")
    token = os.environ.get(TOKEN_VARIABLE)
    kept = Audit(audit, is_shadow=shadow)
    try:
        tally = asyncio.run(
            _fly(
                Autopilot(
                    agent=agent,
                    task=spec,
                    control=VllmControl(
                        control_url,
                        holder=f"autopilot {socket.gethostname()} {os.getpid()}",
                        token=SecretStr(token) if token else None,
                    ),
                    page=MetricsPage(url),
                    observer=Observer(spec, Objectives(slo_ttft_p99, slo_itl_p99)),
                    watchdog=SloWatchdog(windows=watchdog_windows, least_fraction=watchdog_slo),
                    audit=kept,
                    plan=Plan(window_s=window_s, windows=windows, is_shadow=shadow),
                    on_decision=(lambda _: None) if as_json else Teller().tell,
                )
            )
        )
    except (NoMetricsError, VllmControlError) as error:
        raise UnreachableError(str(error)) from error
    finally:
        kept.close()
    if as_json:
        write_json(_document(spec, policy, tally, is_shadow=shadow))
    else:
        _tell_end(spec, tally, is_shadow=shadow)


async def _fly(pilot: Autopilot) -> Tally:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        return await pilot.run(stop)
    finally:
        await pilot.control.close()
        await pilot.page.close()


class Teller:
    """Prints a line where something new is to be told: a move or a problem."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._told: tuple[str, ...] = ()

    def tell(self, decision: Decision) -> None:
        """Print what this decision adds; in shadow mode the same move is due again and again."""
        news = (*decision.changes, *filter(None, [decision.problem]))
        if news != self._told:
            for sentence in news:
                line = f"window {decision.window}: {sentence}  ({decision.reason})"
                screen().print(Text(line), soft_wrap=True)
        self._told = news


def _without(task: TaskSpec, held: list[str]) -> TaskSpec:
    """The task with these knobs no longer the policy's to move.

    Raises:
        InvalidInputError: If one does not move anyway, or none is left.
    """
    for knob in held:
        if knob not in task.active_actions:
            known = ", ".join(task.active_actions)
            raise InvalidInputError(f"--hold {knob!r:.40}: {task.task_id} moves {known}")
    moved = tuple(knob for knob in task.active_actions if knob not in held)
    if not set(moved) & set(LIVE_KNOBS):
        raise InvalidInputError("--hold leaves no knob that a running engine can move")
    return task.model_copy(update={"active_actions": moved})


def _tell_end(task: TaskSpec, tally: Tally, *, is_shadow: bool) -> None:
    met = "nothing ended" if tally.slo_met_fraction is None else f"{tally.slo_met_fraction:.1%}"
    would = "would have moved" if is_shadow else "moved"
    shown = screen()
    shown.print(
        f"{tally.windows} windows, knobs {would} in {tally.moves}; SLO met (estimate): {met}; "
        f"watchdog tripped {tally.trips} times; {tally.problems} windows with problems"
    )
    if ignored_knobs(task):
        shown.print(f"A running engine cannot move: {', '.join(ignored_knobs(task))}")


def _document(task: TaskSpec, policy: str, tally: Tally, *, is_shadow: bool) -> dict[str, Any]:
    return {
        "policy": policy,
        "task_id": task.task_id,
        "is_shadow": is_shadow,
        **asdict(tally),
        "slo_met_fraction": tally.slo_met_fraction,
        "knobs_not_acting": list(ignored_knobs(task)),
        "estimated_fields": list(ESTIMATED),
        "unmeasured_fields": list(UNMEASURED),
    }
