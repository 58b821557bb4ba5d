"""Ranks settings and policies on a real server and in the simulator.

    .venv/bin/python -m scripts.rank_on_both measure --seed 0       about four minutes a seed
    .venv/bin/python -m scripts.rank_on_both report                 needs no server

`report` writes docs/sim_to_real_ranking.json, which `scripts.replay_on_both report` reads.

Both play the task static_workload, for which policies are tuned, on the tiny deployment under
bursts (scripts/tiny_deployment.py): the real one through real mode with the plugin's control
channel, the simulated one with profile cpu-tiny. The server is started with
`--num-gpu-blocks-override 64`, so that the KV budget matters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from agents.registry import make_agent
from agents.result_files import write_json
from agents.rollout import play_episode
from agents.statistics import mean, paired_difference, rank_correlation
from llmserve_env.errors import LLMServeError
from llmserve_env.gym_env import Episodes
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import Catalogue, SloSpec, TaskSpec, shipped_catalogue
from scripts.fit_step_times import MEASURED
from scripts.ranking_section import ranking_section
from scripts.replay_on_both import RANKING, RESULTS
from scripts.row_files import read_conditions_of, read_rows, write_rows
from scripts.server_facts import check_loopback, read_conditions
from scripts.tiny_deployment import (
    KV_BLOCK_BYTES,
    KV_BLOCK_TOKENS,
    MAX_MODEL_LEN,
    setting,
    tiny_task,
)
from server.real_connection import RealConnection
from server.real_environment import RealEnvironment
from server.real_settings import RealSettings
from simulator.deployment import StepCosts
from simulator.environment import Outcome, ServingEnvironment, parse_record
from simulator.records import RequestBatch
from simulator.trace_simulator import TraceSimulator

ROWS_FILE: Final = MEASURED / "cpu_tiny_ranking.csv"
FAMILY: Final = "static_workload"
KV_BLOCKS: Final = 64
WINDOWS: Final = 22
RATE_RPS: Final = 3.5
TTFT_SLO_MS: Final = 600.0
ITL_SLO_MS: Final = 40.0
# The plugin takes no budget that could not hold the longest request and a block.
LEAST_KV_FRACTION: Final = (MAX_MODEL_LEN / KV_BLOCK_TOKENS + 1) / KV_BLOCKS
AGENTS: Final = (
    *(f"constant:batch_cap={cap}" for cap in (2, 6, 16)),
    *(f"constant:kv_budget_fraction={share}" for share in (0.3, 0.6)),
    "vllm_default",
    "aimd",
    "reactive",
    "kv_rule",
    "ppo",
)
MEASURES: Final = ("reward", "goodput_tps", "p99_ttft_ms")


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One agent's episode on the real server.

    Attributes:
        agent: By name.
        seed: Of the traffic.
        reward: Mean per window.
        goodput_tps: Mean output tokens per second of requests within their objectives.
        p99_ttft_ms: Of the last ten windows.
        invalid_windows: In which the client was starved or the knobs could not be moved.
    """

    agent: str
    seed: int
    reward: float
    goodput_tps: float
    p99_ttft_ms: float
    invalid_windows: int


class SlowedSimulator(TraceSimulator):
    """A simulator whose steps all take a given factor longer than the profile's."""

    def __init__(self, factor: float) -> None:
        """No episode yet."""
        super().__init__()
        self._factor = factor

    def load(self, task: TaskSpec, requests: RequestBatch, seed: int) -> None:
        """Start an episode under these requests."""
        super().load(task, requests, seed)
        costs = StepCosts(linear=self._factor, attention=self._factor, host=self._factor)
        self.engine.reset(0, requests, costs)


class BoundedEnvironment(ServingEnvironment):
    """An environment whose KV budget has the bound of the measured server."""

    def advance(self, action: ServeAction | Mapping[str, Any]) -> Outcome:
        """Hold an action for one window, within the bound as real mode does it."""
        if not isinstance(action, ServeAction):
            action = parse_record(ServeAction, action)
        share = max(action.kv_budget_fraction, LEAST_KV_FRACTION)
        return super().advance(action.model_copy(update={"kv_budget_fraction": share}))


def ranking_task() -> TaskSpec:
    """static_workload's knobs and reward on the tiny deployment, under bursts."""
    shipped = shipped_catalogue().get(FAMILY)
    tiny = tiny_task("bursts", RATE_RPS, WINDOWS, kv_bytes=KV_BLOCKS * KV_BLOCK_BYTES)
    changes = {
        "windows": WINDOWS,
        "window_s": 1.0,
        "deployment": tiny.deployment.model_copy(update={"queue_timeout_s": 60.0}),
        "workload": tiny.workload,
        "slo": SloSpec(ttft_ms=(TTFT_SLO_MS,) * 3, itl_ms=(ITL_SLO_MS,) * 3),
        "default_action": setting(tiny.default_action.batch_cap),
    }
    return shipped.model_copy(update=changes)


def catalogue() -> Catalogue:
    """The one task, under the version for which agents are tuned."""
    return Catalogue(
        environment_version=shipped_catalogue().environment_version, tasks=(ranking_task(),)
    )


def play(agent: str, seed: int, episodes: Episodes) -> EpisodeRow:
    """One episode of an agent, wherever it is played."""
    seen: list[ServeObservation] = []
    task = ranking_task()
    made = make_agent(_agent_name(agent))
    episode = play_episode(made, task, seed, episodes=episodes, on_window=seen.append)
    real = [observation.metadata.get("real", {}) for observation in seen]
    return EpisodeRow(
        agent=agent,
        seed=seed,
        reward=round(episode.mean_reward, 5),
        goodput_tps=round(float(np.mean([each.goodput_tps for each in seen])), 2),
        p99_ttft_ms=round(float(episode.last.p99_ttft_ms or np.nan), 1),
        invalid_windows=sum(not each.get("is_valid", True) for each in real),
    )


def _agent_name(agent: str) -> str:
    """The registry's name: a constant is the default action but for one knob."""
    kind, _, change = agent.partition(":")
    if kind != "constant":
        return agent
    knob, _, value = change.partition("=")
    number = int(value) if knob == "batch_cap" else float(value)
    action = ranking_task().default_action.model_copy(update={knob: number})
    return f"constant:{action.model_dump_json()}"


def measure(url: str, control_url: str, model: str, seed: int) -> list[EpisodeRow]:
    """Every agent's episode of a seed on the real server.

    Raises:
        ValueError: If the server is not on this machine.
        RealServerError: If it does not answer as it must.
    """
    check_loopback(url)
    settings = RealSettings(
        mode="real",
        real_provider="vllm",
        real_model=model,
        real_base_url=url,
        real_control_url=control_url,
        real_rate_scale=1.0,
        real_watchdog_windows=0,
    )
    connection = RealConnection(settings)
    environment = RealEnvironment(connection, catalogue())
    rows = []
    try:
        for agent in AGENTS:
            rows.append(play(agent, seed, environment))
            print(rows[-1], flush=True)
    finally:
        environment.close()
        connection.close()
    return rows


def simulate(seeds: Sequence[int], factor: float) -> list[EpisodeRow]:
    """Every agent's episodes of these seeds in the simulator."""
    environment = BoundedEnvironment(catalogue(), simulator=SlowedSimulator(factor))
    return [play(agent, seed, environment) for seed in seeds for agent in AGENTS]


def rank(real: Sequence[EpisodeRow], simulated: Sequence[EpisodeRow]) -> dict[str, Any]:
    """Both sides by agent with intervals over seeds, and how far their orders agree."""
    return {measure: _rank_by(measure, real, simulated) for measure in MEASURES}


def _rank_by(
    name: str, real: Sequence[EpisodeRow], simulated: Sequence[EpisodeRow]
) -> dict[str, Any]:
    sides = {"real": _by_agent(name, real), "simulated": _by_agent(name, simulated)}
    means = {side: [float(np.mean(found[a])) for a in AGENTS] for side, found in sides.items()}
    return {
        "agents": {
            agent: {side: asdict(mean(found[agent])) for side, found in sides.items()}
            for agent in AGENTS
        },
        "rank_correlation": rank_correlation(means["real"], means["simulated"]),
        "rank_correlation_by_seed": _correlations(sides),
        **_pairs(sides),
    }


def _by_agent(name: str, rows: Sequence[EpisodeRow]) -> dict[str, list[float]]:
    ordered = sorted(rows, key=lambda row: row.seed)
    return {a: [float(getattr(r, name)) for r in ordered if r.agent == a] for a in AGENTS}


def _correlations(sides: dict[str, dict[str, list[float]]]) -> list[float]:
    columns = {side: np.array([found[a] for a in AGENTS]) for side, found in sides.items()}
    pairs = zip(columns["real"].T, columns["simulated"].T, strict=True)
    return [rank_correlation(real, simulated) for real, simulated in pairs]


def _pairs(sides: dict[str, dict[str, list[float]]]) -> dict[str, int]:
    """Of the pairs that the real server tells apart, how many the simulator orders alike."""
    told_apart, alike = 0, 0
    for first, second in combinations(AGENTS, 2):
        real = paired_difference(sides["real"][first], sides["real"][second])
        if real.low <= 0.0 <= real.high:
            continue
        told_apart += 1
        guess = np.mean(sides["simulated"][first]) - np.mean(sides["simulated"][second])
        alike += int(guess * real.value > 0.0)
    return {"pairs_told_apart": told_apart, "pairs_ordered_alike": alike}


def report() -> int:
    """Write the results, with step times as slow as the probes of other runs found; always 0."""
    real = read_rows(ROWS_FILE, EpisodeRow)
    factor = float(json.loads(RESULTS.read_text(encoding="utf-8"))["overall_factor"])
    simulated = simulate(sorted({row.seed for row in real}), factor)
    results = {
        "task": FAMILY,
        "factor": factor,
        "seeds": sorted({row.seed for row in real}),
        "windows": WINDOWS,
        "invalid_windows": sum(row.invalid_windows for row in real),
        "measures": rank(real, simulated),
        "conditions": read_conditions_of(ROWS_FILE),
    }
    write_json(RANKING, results)
    print("\n".join(ranking_section(results)))
    return 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("measure", "report"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", default="http://127.0.0.1:8300/v1")
    parser.add_argument("--control", default="http://127.0.0.1:8301")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--note", default="", help="conditions that the server does not tell")
    options = parser.parse_args()
    if options.what == "report":
        return report()
    kept = read_rows(ROWS_FILE, EpisodeRow) if ROWS_FILE.exists() else []
    rows = [row for row in kept if row.seed != options.seed]
    try:
        rows += measure(options.url, options.control, options.model, options.seed)
    except (LLMServeError, ValueError) as error:
        parser.error(str(error))
    conditions = read_conditions(options.url, options.note)
    write_rows(ROWS_FILE, [asdict(row) for row in rows], conditions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
