"""Plays runs on a vLLM with the project's plugin: knobs set, traffic sent, rows brought back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from scripts.replayed_runs import RequestRow, RunRow
from scripts.server_facts import check_loopback
from scripts.stream_load import Load, PlannedRequest, send, settings_for
from scripts.tiny_deployment import traffic
from server.real_client import RealClient
from server.real_probe import measure_prompt_scale
from server.real_prompts import PromptScale
from server.real_vllm_control import VllmControl

HOLDER: Final = "run_on_server"
LEASE_S: Final = 120.0  # a run and its drain


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run to be played.

    Attributes:
        role: probe, held_out or ranking.
        family: poisson or bursts.
        rate_rps: Mean rate.
        seconds: In which requests arrive.
        seed: Of the traffic.
        batch_cap: To be set on the server.
        kv_budget_fraction: To be set on the server.
    """

    role: str
    family: str
    rate_rps: float
    seconds: float
    seed: int
    batch_cap: int
    kv_budget_fraction: float = 1.0


class Server:
    """A server under measurement: its API and its control channel."""

    def __init__(self, client: RealClient, control: VllmControl, scale: PromptScale) -> None:
        """Use these; `connected` makes them."""
        self._client, self._control, self._scale = client, control, scale

    async def play(self, plan: RunPlan, number: int) -> tuple[RunRow, list[RequestRow]]:
        """Set the knobs, send the traffic and wait for the last answer.

        Raises:
            VllmControlError: If the knobs cannot be set.
        """
        knobs = {"batch_cap": plan.batch_cap, "kv_budget_fraction": plan.kv_budget_fraction}
        await self._control.set_knobs(knobs, lease_s=LEASE_S)
        requests = traffic(plan.family, plan.rate_rps, plan.seconds, plan.seed)
        columns = (requests.arrival_s, requests.prompt_tokens, requests.output_tokens)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        load = await send(
            self._client, self._scale, [PlannedRequest(*row) for row in rows], seed=plan.seed
        )
        return run_row(plan, number, load), request_rows(number, load)


@asynccontextmanager
async def connected(url: str, control_url: str, model: str) -> AsyncIterator[Server]:
    """A server that was warmed up; its knobs are vLLM's defaults again at the end.

    Raises:
        ValueError: If the server is not on this machine.
        RealServerError: If it does not answer.
    """
    check_loopback(url)
    client = RealClient(settings_for(url, model), url)
    control = VllmControl(control_url, holder=HOLDER)
    try:
        scale = await measure_prompt_scale(client, url)
        await send(client, scale, [PlannedRequest(0.0, 64, 16)] * 4, seed=0)
        yield Server(client, control, scale)
        await control.restore()
    finally:
        await control.close()
        await client.close()


async def play_all(server: Server, plans: Sequence[RunPlan], first: int) -> Played:
    """Plays runs one after another, numbered from `first`."""
    runs: list[RunRow] = []
    requests: list[RequestRow] = []
    for number, plan in enumerate(plans, start=first):
        run, rows = await server.play(plan, number)
        runs.append(run)
        requests += rows
        await asyncio.sleep(0.2)
        print(describe(run, rows), flush=True)
    return Played(runs, requests)


@dataclass(frozen=True, slots=True)
class Played:
    """Runs and the requests of all of them."""

    runs: list[RunRow]
    requests: list[RequestRow]


def run_row(plan: RunPlan, number: int, load: Load) -> RunRow:
    """What is kept of a run as a whole."""
    gaps_ms = [
        1e3 * (later - earlier)
        for request in load.requests
        for earlier, later in zip(request.chunk_s, request.chunk_s[1:], strict=False)
    ]
    return RunRow(
        run=number,
        role=plan.role,
        family=plan.family,
        rate_rps=plan.rate_rps,
        seed=plan.seed,
        batch_cap=plan.batch_cap,
        kv_budget_fraction=plan.kv_budget_fraction,
        itl_p50_ms=round(float(np.percentile(gaps_ms, 50)), 3),
        itl_p99_ms=round(float(np.percentile(gaps_ms, 99)), 3),
        client_lag_ms=round(1e3 * load.lag_s, 1),
        starved_fraction=round(load.starved_fraction, 3),
        failures=load.failures,
    )


def request_rows(number: int, load: Load) -> list[RequestRow]:
    """The answered requests of a run."""
    return [
        RequestRow(
            run=number,
            due_s=round(request.due_s, 5),
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
            ttft_ms=round(1e3 * request.ttft_s, 2),
            tpot_ms=round(1e3 * request.tpot_s, 3),
            finish_s=round(request.finish_s, 4),
        )
        for request in load.requests
        if request.failure is None
    ]


def describe(run: RunRow, rows: Sequence[RequestRow]) -> str:
    """A line about a run for whoever waits."""
    ttft = np.median([row.ttft_ms for row in rows])
    tpot = np.median([row.tpot_ms for row in rows])
    return (
        f"run {run.run} {run.role} {run.family} {run.rate_rps:g}/s cap {run.batch_cap} kv "
        f"{run.kv_budget_fraction:g}: {len(rows)} requests, TTFT p50 {ttft:.0f} ms, TPOT p50 "
        f"{tpot:.1f} ms, lag {run.client_lag_ms:.0f} ms, starved {run.starved_fraction:.0%}"
    )
