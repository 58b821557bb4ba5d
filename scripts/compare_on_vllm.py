"""Policies against the server's default settings on a real vLLM under bursts, in pairs.

    python -m scripts.compare_on_vllm --venv /tmp/vllm-venv --model /tmp/tiny-llama --pairs 6

Starts the tiny vLLM itself. A static batch cap is tuned on seeds of its own first. Then every
policy plays the same traffic once per pair, one after the other, in an order that turns from pair
to pair; a ratio is taken within a pair, so that a slow machine is slow for both. Writes
docs/real_vllm/compare.json and its table in docs/real_vllm.md.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from agents.registry import make_agent
from agents.rollout import play_episode
from agents.statistics import mean
from llmserve_env.models import ServeObservation
from llmserve_env.tasks import TaskSpec
from scripts.vllm_episodes import environment_on, settings_on, tiny_task
from scripts.vllm_page import read_kept, write_results
from scripts.vllm_process import VllmProcess, add_vllm_options, prefer_myself, running_vllm
from server.real_environment import RealEnvironment

DEFAULTS: Final = "vllm_default"
TUNED: Final = "tuned static cap"
ADAPTIVE: Final = "tuned aimd"
POLICIES: Final = ("reactive", "kv_rule", "ppo")
CAPS: Final = (6, 10, 14, 20)
FIRST_TUNING_SEED: Final = 900
FIRST_SEED: Final = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """An agent by name, and the batch cap that it takes for the task's default, if another."""

    agent: str
    batch_cap: int | None = None

    @property
    def task(self) -> TaskSpec:
        """The task as the agent is told it."""
        task = tiny_task()
        if self.batch_cap is None:
            return task
        start = task.default_action.model_copy(update={"batch_cap": self.batch_cap})
        return task.model_copy(update={"default_action": start})


def play(environment: RealEnvironment, policy: Policy, seed: int) -> dict[str, float]:
    """The figures of an episode."""
    seen: list[ServeObservation] = []
    began_s = time.monotonic()
    episode = play_episode(
        make_agent(policy.agent), policy.task, seed, episodes=environment, on_window=seen.append
    )
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
        "speculation_depth": statistics.fmean(each.config.speculation_depth for each in seen),
        "draft_tokens": sum(each["draft_tokens"] or 0.0 for each in drafts),
        "accepted_tokens": sum(each["accepted_tokens"] or 0.0 for each in drafts),
        "reward": episode.mean_reward,
        "valid": statistics.fmean(block["is_valid"] for block in blocks),
        "seconds": time.monotonic() - began_s,
    }


def tune(environment: RealEnvironment, seeds: Sequence[int]) -> dict[int, float]:
    """Goodput by batch cap on seeds that are not compared on, in tokens/s."""
    goodput: dict[int, list[float]] = {cap: [] for cap in CAPS}
    for seed in seeds:
        for cap in CAPS:
            goodput[cap].append(play(environment, Policy(DEFAULTS, cap), seed)["goodput_tps"])
            print(f"tuning: cap {cap} seed {seed}: {goodput[cap][-1]:.1f} tokens/s", flush=True)
    return {cap: statistics.fmean(values) for cap, values in goodput.items()}


def compare(
    environment: RealEnvironment, policies: dict[str, Policy], *, pairs: int
) -> dict[str, list[dict[str, float]]]:
    """The figures of every policy in every pair."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in policies}
    names = list(policies)
    for pair in range(pairs):
        turn = pair % len(names)
        for name in names[turn:] + names[:turn]:
            figures = play(environment, policies[name], FIRST_SEED + pair)
            found[name].append(figures)
            print(f"pair {pair} {name}: {_brief(figures)}", flush=True)
    return found


def summarize(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means, and the ratio of goodput to the defaults' with its interval over the pairs.

    The ratio is the geometric mean of the pairs' ratios; the interval is bootstrapped over pairs.
    """
    base = np.array([each["goodput_tps"] for each in found[DEFAULTS]])
    summary: dict[str, Any] = {}
    for name, pairs in found.items():
        means = {key: statistics.fmean(each[key] for each in pairs) for key in pairs[0]}
        goodput = np.array([each["goodput_tps"] for each in pairs])
        ratio = None
        if name != DEFAULTS and (base > 0.0).all() and (goodput > 0.0).all():
            logs = asdict(mean(np.log(goodput / base)))
            ratio = {key: math.exp(value) for key, value in logs.items()}
        summary[name] = means | {"ratio": ratio, "pairs": pairs}
    return summary


def run(server: VllmProcess, options: argparse.Namespace) -> dict[str, Any]:
    """Tune, compare and summarize."""
    settings = settings_on(
        server.base_url,
        server.control_url,
        real_temperature=options.temperature,
        real_watchdog_windows=0,  # it would put the defaults in a policy's place
    )
    with environment_on(settings) as environment:
        tuning = tune(environment, range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + options.tuning))
        best = max(tuning, key=lambda cap: tuning[cap])
        policies = {
            DEFAULTS: Policy(DEFAULTS),
            TUNED: Policy(DEFAULTS, best),
            ADAPTIVE: Policy("aimd", best),
            **{name: Policy(name) for name in POLICIES},
        }
        found = compare(environment, policies, pairs=options.pairs)
    task = tiny_task()
    return {
        "run": {
            "pairs": options.pairs,
            "windows": task.windows,
            "window_s": task.window_s,
            "task": task.task_id,
            "temperature": options.temperature,
            "tuned_cap": best,
            "tuning_goodput_tps": {str(cap): value for cap, value in tuning.items()},
        },
        "policies": summarize(found),
    }


def _brief(figures: dict[str, float]) -> str:
    names = ("goodput_tps", "compliance", "batch_cap", "speculation_depth", "valid", "seconds")
    return " ".join(f"{name} {figures[name]:.2f}" for name in names)


def main() -> None:
    """Compare and write, beside what was compared at other temperatures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_vllm_options(parser)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--tuning", type=int, default=1, help="seeds for the static cap")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="0 makes the tiny model repeat itself: nearly all drafts are accepted",
    )
    options = parser.parse_args()
    prefer_myself()
    with running_vllm(options.venv, options.model, options.log) as server:
        results = run(server, options)
    kept = read_kept("compare")
    write_results("compare", kept | {f"temperature {options.temperature:g}": results})


if __name__ == "__main__":
    main()
