"""Moves every live knob of a real vLLM back and forth under load and measures what follows.

    python -m scripts.measure_vllm_knobs --venv /tmp/vllm-venv --model /tmp/tiny-llama

Starts the tiny vLLM itself. The settings of a knob take turns in rounds, so that a slow machine is
slow for all of them. Writes docs/real_vllm/knobs.json and its tables in docs/real_vllm.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any, Final

from scripts.vllm_load import ClientGroup, run_clients, summary
from scripts.vllm_page import write_results
from scripts.vllm_process import VllmProcess, add_vllm_options, prefer_myself, running_vllm
from server.real_client import RealClient
from server.real_probe import measure_prompt_scale
from server.real_settings import RealSettings
from server.real_vllm_control import VllmControl
from server.real_vllm_metrics import MetricsWatch

LEASE_S: Final = 60.0
SPECULATION_OFF: Final = {"speculation_depth": 0}


@dataclass(frozen=True, slots=True)
class Experiment:
    """Settings of a knob that take turns under the same load.

    Attributes:
        name: Of its table.
        settings: By label, the knobs that differ from vLLM's defaults.
        groups: The load.
        temperature: 0 makes the tiny model repeat itself, so that drafts are accepted.
    """

    name: str
    settings: dict[str, dict[str, Any]]
    groups: tuple[ClientGroup, ...]
    temperature: float = 1.0


def _caps() -> dict[str, dict[str, Any]]:
    return {f"batch_cap {cap}": {"batch_cap": cap} | SPECULATION_OFF for cap in (2, 8, 32)}


def _depths() -> dict[str, dict[str, Any]]:
    return {f"speculation_depth {depth}": {"speculation_depth": depth} for depth in (0, 4, 8)}


EXPERIMENTS: Final = (
    Experiment("batch_cap", _caps(), (ClientGroup(32, 64, 48),)),
    Experiment(
        "kv_budget_fraction",
        {
            f"kv_budget_fraction {share}": {"kv_budget_fraction": share} | SPECULATION_OFF
            for share in (1.0, 0.06, 0.04)
        },
        (ClientGroup(24, 96, 128),),
    ),
    Experiment("speculation_1_client", _depths(), (ClientGroup(1, 64, 96),), temperature=0.0),
    Experiment("speculation_16_clients", _depths(), (ClientGroup(16, 64, 96),), temperature=0.0),
    Experiment("speculation_nothing_accepted", _depths(), (ClientGroup(4, 64, 96),)),
    Experiment(
        "priority_routing",
        {
            f"priority_routing {str(on).lower()}": {
                "priority_routing": on,
                "batch_cap": 4,
                **SPECULATION_OFF,
            }
            for on in (False, True)
        },
        (ClientGroup(4, 64, 32, priority=0), ClientGroup(12, 64, 32, priority=2)),
    ),
    Experiment(
        "prefill_chunk_tokens",
        {
            f"prefill_chunk_tokens {tokens}": {"prefill_chunk_tokens": tokens} | SPECULATION_OFF
            for tokens in (0, 256, 64)
        },
        (ClientGroup(4, 32, 192), ClientGroup(2, 1200, 2, gap_s=0.5)),
    ),
)


async def measure(server: VllmProcess, *, rounds: int, duration_s: float) -> dict[str, Any]:
    """Every experiment: by setting the median of its rounds, and the rounds."""
    control = VllmControl(server.control_url, holder="measure_vllm_knobs")
    watch = MetricsWatch(server.base_url)
    await watch.start()
    measured: dict[str, Any] = {}
    try:
        for experiment in EXPERIMENTS:
            client = RealClient(_settings(server, experiment.temperature), server.base_url)
            measured[experiment.name] = await _measure_one(
                experiment, control, watch, client, rounds=rounds, duration_s=duration_s
            )
            await client.close()
        await control.restore()
    finally:
        await watch.close()
        await control.close()
    return measured


async def _measure_one(
    experiment: Experiment,
    control: VllmControl,
    watch: MetricsWatch,
    client: RealClient,
    *,
    rounds: int,
    duration_s: float,
) -> dict[str, Any]:
    scale = await measure_prompt_scale(client, None)
    defaults = (await control.read_state()).defaults.model_dump()
    found: dict[str, list[dict[str, Any]]] = {label: [] for label in experiment.settings}
    for turn in range(rounds):
        for label, change in experiment.settings.items():
            await control.set_knobs(defaults | change, lease_s=LEASE_S)
            run = await run_clients(
                client, watch, scale, experiment.groups, duration_s=duration_s, seed=turn
            )
            found[label].append(summary(run))
            print(experiment.name, label, _brief(found[label][-1]), flush=True)
    return {
        label: {"median": _median(figures), "rounds": figures} for label, figures in found.items()
    }


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every figure over the rounds."""
    medians: dict[str, Any] = {}
    for name, first in rounds[0].items():
        values = [each[name] for each in rounds]
        medians[name] = (
            [_median([value[place] for value in values]) for place in range(len(first))]
            if isinstance(first, list)
            else statistics.median(values)
        )
    return medians


async def time_moves(server: VllmProcess, *, moves: int) -> dict[str, float]:
    """How long a change takes to be in force while 16 clients keep the engine busy, in ms."""
    control = VllmControl(server.control_url, holder="measure_vllm_knobs")
    watch = MetricsWatch(server.base_url)
    client = RealClient(_settings(server, 1.0), server.base_url)
    scale = await measure_prompt_scale(client, None)
    load = asyncio.create_task(
        run_clients(client, watch, scale, (ClientGroup(16, 64, 64),), duration_s=600.0, seed=0)
    )
    await asyncio.sleep(3.0)
    took_ms, pending = [], 0
    for move in range(moves):
        began_s = time.monotonic()
        state = await control.set_knobs({"batch_cap": 4 + move % 12}, lease_s=LEASE_S)
        took_ms.append((time.monotonic() - began_s) * 1e3)
        pending += state.is_pending
        await asyncio.sleep(0.1)
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    await control.restore()
    for each in (control, watch, client):
        await each.close()
    return {
        "moves": moves,
        "median_ms": statistics.median(took_ms),
        "max_ms": max(took_ms),
        "still_pending": pending,
    }


def _settings(server: VllmProcess, temperature: float) -> RealSettings:
    return RealSettings(
        mode="real",
        real_provider="vllm",
        real_model="tiny",
        real_base_url=server.base_url,
        real_control_url=server.control_url,
        real_temperature=temperature,
        real_request_timeout_s=120.0,
    )


def _brief(figures: dict[str, Any]) -> str:
    names = ("running_mean", "itl_p50_ms", "ttft_mean_ms", "output_tps", "preemptions")
    return " ".join(f"{name} {figures[name]:.1f}" for name in names)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_vllm_options(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of every setting and round")
    options = parser.parse_args()
    prefer_myself()
    with running_vllm(options.venv, options.model, options.log) as server:
        moves = asyncio.run(time_moves(server, moves=40))
        measured = asyncio.run(measure(server, rounds=options.rounds, duration_s=options.seconds))
    facts = {"rounds": options.rounds, "seconds": options.seconds, "start_s": server.start_s}
    write_results("knobs", {"run": facts, "moves": moves, "experiments": measured})


if __name__ == "__main__":
    main()
