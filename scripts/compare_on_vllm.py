"""Policies against the server's default settings on a real vLLM under bursts, in pairs.

    python -m scripts.compare_on_vllm --venv /tmp/vllm-venv --model /tmp/tiny-llama --pairs 5

Starts the tiny vLLM itself. Every policy plays the same traffic once per pair, one after the other,
in an order that turns from pair to pair; a ratio is taken within a pair, so that a slow machine is
slow for both. Objectives are scaled by the server's step time, and the rate is moved until the
defaults miss some of them, before anybody else has played. The defaults play twice: how far their
ratio lies from 1 is the noise. The constant and the policy come from scripts/train_for_vllm.py,
which knows the simulator alone. A pair takes two to three minutes; pairs are added to those that
are kept, until --fresh. Writes docs/real_vllm/compare.json and its table in docs/real_vllm.md.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from agents.base import Agent
from agents.ppo.agent import PpoAgent
from agents.rollout import play_episode
from agents.simple import ConstantAgent
from agents.statistics import mean
from llmserve_env.models import ServeObservation
from llmserve_env.splits import split_range
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from scripts.rank_on_both import SlowedSimulator
from scripts.vllm_episodes import (
    TRAINING,
    WEIGHTS,
    environment_on,
    rate_scale_at,
    settings_on,
    tiny_task,
)
from scripts.vllm_page import read_kept, write_results
from scripts.vllm_process import VllmProcess, add_vllm_options, prefer_myself, running_vllm
from scripts.vllm_speed import measure_slowdown
from server.real_environment import RealEnvironment
from server.real_settings import RealSettings
from server.real_traffic import scaled_task
from simulator.environment import ServingEnvironment

DEFAULTS: Final = "vLLM's defaults"
AGAIN: Final = "the defaults again"
DEEPEST: Final = "defaults, speculation on"
CONSTANT: Final = "best constant of the simulator"
POLICY: Final = "PPO trained in the simulator"
FIRST_SEED: Final = split_range("test").start + 10_000  # training.json is about the first of them
PROBES: Final = 3
# The search for a load: share of requests within their objectives under vLLM's defaults.
TARGET: Final = (0.6, 0.85)
SEARCHES: Final = 5
SEARCH_WINDOWS: Final = 15
SEARCH_SEED: Final = 900
FASTER, SLOWER = 1.35, 0.8
Makers = dict[str, Callable[[], Agent]]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server.

    Attributes:
        slowdown: Factor on the objectives, and on the simulator's steps.
        rate_scale: Factor on the request rate.
        temperature: Of the answers.
    """

    slowdown: float
    rate_scale: float
    temperature: float

    def settings(self, server: VllmProcess) -> RealSettings:
        """Settings that play the tiny tasks under it."""
        return settings_on(
            server.base_url,
            server.control_url,
            real_temperature=self.temperature,
            real_rate_scale=self.rate_scale,
            real_slo_scale=self.slowdown,
            real_watchdog_windows=0,  # it would put the defaults in a policy's place
        )


def policies(task: TaskSpec, constant: Mapping[str, Any], *, drafts: bool) -> Makers:
    """Who plays, by name; with drafts also the depth that the server was started with."""
    best = {knob: constant[knob] for knob in task.active_actions}
    deepest = {"speculation_depth": 8}
    found: Makers = {DEFAULTS: lambda: ConstantAgent({}), POLICY: lambda: PpoAgent(WEIGHTS)}
    if drafts:
        found[DEEPEST] = lambda: ConstantAgent(deepest)
    return found | {CONSTANT: lambda: ConstantAgent(best), AGAIN: found[DEFAULTS]}


def play(environment: RealEnvironment, task: TaskSpec, agent: Agent, seed: int) -> dict[str, float]:
    """The figures of an episode on the server."""
    seen: list[ServeObservation] = []
    began_s = time.monotonic()
    episode = play_episode(agent, task, seed, episodes=environment, on_window=seen.append)
    ttft_ms = [each.p99_ttft_ms for each in seen if each.p99_ttft_ms is not None]
    decided = sum(each.slo_sample_count for each in seen)
    met = sum((each.slo_compliance_rate or 0.0) * each.slo_sample_count for each in seen)
    blocks = [each.metadata["real"] for each in seen]
    drafts = [block["vllm"]["metrics"] for block in blocks if block["vllm"]["metrics"]]
    return {
        "goodput_tps": statistics.fmean(each.goodput_tps for each in seen),
        "throughput_tps": statistics.fmean(each.throughput_tps for each in seen),
        "compliance": met / decided if decided else math.nan,
        "finished": float(sum(each.finished_requests for each in seen)),
        "ttft_p99_ms": statistics.median(ttft_ms) if ttft_ms else math.nan,
        "batch_cap": statistics.fmean(each.config.batch_cap for each in seen),
        "cap_changes": float(_changes([each.config.batch_cap for each in seen])),
        "speculation_depth": statistics.fmean(each.config.speculation_depth for each in seen),
        "draft_tokens": sum(each["draft_tokens"] or 0.0 for each in drafts),
        "accepted_tokens": sum(each["accepted_tokens"] or 0.0 for each in drafts),
        "reward": episode.mean_reward,
        "valid": statistics.fmean(block["is_valid"] for block in blocks),
        "seconds": time.monotonic() - began_s,
    }


def _changes(values: list[int]) -> int:
    return sum(first != second for first, second in itertools.pairwise(values))


def predict(task: TaskSpec, agent: Agent, seed: int, load: Load) -> float:
    """The goodput of the same episode in the simulator, as slow as the server, in tokens/s."""
    seen: list[ServeObservation] = []
    scaled = scaled_task(task, rate_scale=load.rate_scale, slo_scale=load.slowdown)
    version = shipped_catalogue().environment_version
    catalogue = Catalogue(environment_version=version, tasks=(scaled,))
    simulated = ServingEnvironment(catalogue, simulator=SlowedSimulator(load.slowdown))
    play_episode(agent, scaled, seed, episodes=simulated, on_window=seen.append)
    return statistics.fmean(each.goodput_tps for each in seen)


def summarize(found: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means, and ratios of goodput to the defaults' and the constant's, with their intervals.

    A ratio is the geometric mean of the pairs' ratios; the interval is bootstrapped over pairs.
    """
    summary: dict[str, Any] = {}
    for name, pairs in found.items():
        means = {key: statistics.fmean(each[key] for each in pairs) for key in pairs[0]}
        ratios = {
            key: None if name == DEFAULTS else _ratio(pairs, found[DEFAULTS], key)
            for key in ("goodput_tps", "predicted_tps")
        }
        summary[name] = means | {
            "ratio": ratios["goodput_tps"],
            "predicted_ratio": ratios["predicted_tps"],
            "ratio_to_constant": None
            if name == CONSTANT
            else _ratio(pairs, found[CONSTANT], "goodput_tps"),
            "pairs": pairs,
        }
    return summary


def _ratio(
    pairs: list[dict[str, float]], base: list[dict[str, float]], key: str
) -> dict[str, float] | None:
    own, others = (np.array([each[key] for each in rows]) for rows in (pairs, base))
    if not ((own > 0.0).all() and (others > 0.0).all()):
        return None
    return {name: math.exp(value) for name, value in asdict(mean(np.log(own / others))).items()}


def find_load(server: VllmProcess, temperature: float) -> Load:
    """A load at which vLLM's defaults miss some objectives; nobody else is looked at.

    Objectives are scaled by the server's step time beside the profile's, then the rate is moved
    until the defaults meet the objectives of TARGET of the requests, on seeds of their own.
    """
    slowdown = max(1.0, min(measure_slowdown(server) for _ in range(PROBES)))
    task, rate = tiny_task(windows=SEARCH_WINDOWS), rate_scale_at(slowdown)
    for attempt in range(SEARCHES):
        load = Load(slowdown, rate, temperature)
        with environment_on(load.settings(server), windows=SEARCH_WINDOWS) as environment:
            found = play(environment, task, ConstantAgent({}), SEARCH_SEED + attempt)
        print(f"load {rate:.2f}: the defaults meet {found['compliance']:.2f}", flush=True)
        if TARGET[0] <= found["compliance"] <= TARGET[1]:
            break
        rate *= FASTER if found["compliance"] > TARGET[1] else SLOWER
    return load


def play_pair(
    server: VllmProcess, task: TaskSpec, makers: Makers, pair: int, load: Load
) -> dict[str, dict[str, float]]:
    """The figures of every policy on the same requests."""
    names, played = list(makers), dict[str, dict[str, float]]()
    turn, seed = pair % len(names), FIRST_SEED + pair
    with environment_on(load.settings(server)) as environment:
        for name in names[turn:] + names[:turn]:
            figures = play(environment, task, makers[name](), seed)
            figures["predicted_tps"] = predict(task, makers[name](), seed, load)
            played[name] = figures | {"slowdown": load.slowdown, "rate_scale": load.rate_scale}
            print(f"pair {pair} {name}: {_brief(played[name])}", flush=True)
    return played


def run(server: VllmProcess, options: argparse.Namespace) -> None:
    """Play pairs and add them to those that are kept."""
    drafts, key = options.temperature == 0.0, f"temperature {options.temperature:g}"
    task = tiny_task(repeats=drafts)
    trained = json.loads(TRAINING.read_text(encoding="utf-8"))[task.task_id]
    facts = {"task": task.task_id, "digest": _digest(task), "constant": trained["constant"]}
    facts |= {"windows": task.windows, "window_s": task.window_s}
    makers = policies(task, trained["constant"], drafts=drafts)
    before = read_kept("compare").get(key, {})
    goes_on = not options.fresh and before.get("run", {}).get("digest") == facts["digest"]
    found = {name: before["policies"][name]["pairs"] if goes_on else [] for name in makers}
    first, load = len(found[DEFAULTS]), find_load(server, options.temperature)
    for pair in range(first, first + options.pairs):
        for name, figures in play_pair(server, task, makers, pair, load).items():
            found[name].append(figures)
        results = {"run": facts | {"pairs": pair + 1}, "policies": summarize(found)}
        write_results("compare", read_kept("compare") | {key: results})


def summarize_again() -> None:
    """Write the kept pairs' summaries anew."""
    kept = read_kept("compare")
    for results in kept.values():
        found = {name: policy["pairs"] for name, policy in results["policies"].items()}
        results["policies"] = summarize(found)
    write_results("compare", kept)


def _digest(task: TaskSpec) -> str:
    """Of what must be the same for pairs to be put together."""
    return hashlib.sha256(task.model_dump_json().encode() + WEIGHTS.read_bytes()).hexdigest()[:16]


def _brief(figures: dict[str, float]) -> str:
    names = ("slowdown", "goodput_tps", "predicted_tps", "compliance", "batch_cap", "valid")
    return " ".join(f"{name} {figures[name]:.2f}" for name in names)


def main() -> None:
    """Compare and write, beside what was compared at other temperatures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_vllm_options(parser, is_required=False)
    parser.add_argument(
        "--pairs", type=int, default=5, help="to be played now; 0 writes what is kept anew"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the pairs that are kept")
    parser.add_argument(
        "--temperature",
        type=float,
        choices=(0.0, 1.0),
        default=1.0,
        help="0 makes the tiny model repeat itself: nearly all drafts are accepted",
    )
    options = parser.parse_args()
    if options.pairs == 0:
        summarize_again()
        return
    if options.venv is None or options.model is None:
        parser.error("--venv and --model name the vLLM to start")
    prefer_myself()
    with running_vllm(options.venv, options.model, options.log) as server:
        run(server, options)


if __name__ == "__main__":
    main()
