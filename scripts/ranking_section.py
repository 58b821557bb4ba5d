"""The section of docs/sim_to_real.md on how settings and policies rank on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NAMES: Final = {
    "reward": "mean reward",
    "goodput_tps": "goodput, tokens/s",
    "p99_ttft_ms": "TTFT p99 of the last 10 windows, ms",
}
LOWER_IS_BETTER: Final = ("p99_ttft_ms",)


def ranking_section(results: Mapping[str, Any]) -> list[str]:
    """Both orders with intervals over seeds, and how far they agree."""
    seeds, measures = len(results["seeds"]), results["measures"]
    windows = seeds * results["windows"] * len(measures["reward"]["agents"])
    lines = [
        "## Do they rank alike?",
        f"Ten settings and policies, {seeds} seeds of {results['windows']} windows of 1 s each,",
        "the same requests on both sides: the knobs and the reward of `static_workload` (0.7 for",
        "KV memory left unreserved, 0.3 for goodput), for which the policies were tuned on another",
        "deployment, under bursts of 3.5 requests/s on a KV pool of 64 blocks, objectives 600 ms",
        "for TTFT and 40 ms for ITL. The simulator plays `cpu-tiny` with the one factor of the",
        f"probes above, {results['factor']:.2f}. Windows marked invalid:",
        f"{results['invalid_windows']} of {windows}, because the client woke up late.",
        f"Intervals: 95 %, bootstrap over seeds; with {seeds} seeds little more than the range. A",
        "constant holds vLLM's defaults but for the knob that it names; the other agents are those",
        "of the registry (docs/headroom.md). Where the simulator holds agents equal, so few seeds",
        "cannot tell whether the real server's order among them is theirs or the machine's drift",
        "from one episode to the next.",
    ]
    for name, found in measures.items():
        lines += ["", *_table(name, found)]
    return lines


def _table(name: str, found: Mapping[str, Any]) -> list[str]:
    agents = found["agents"]
    sign = 1.0 if name in LOWER_IS_BETTER else -1.0
    order = sorted(agents, key=lambda agent: sign * agents[agent]["real"]["value"])
    guessed = sorted(agents, key=lambda agent: sign * agents[agent]["simulated"]["value"])
    lines = [
        f"| {NAMES[name]} | real server | simulator | place real / simulated |",
        "|---|---|---|---|",
    ]
    for place, agent in enumerate(order, start=1):
        real, simulated = agents[agent]["real"], agents[agent]["simulated"]
        lines.append(
            f"| {agent} | {_estimate(real)} | {_estimate(simulated)} "
            f"| {place} / {guessed.index(agent) + 1} |"
        )
    by_seed = found["rank_correlation_by_seed"]
    return [
        *lines,
        "",
        f"Rank correlation (Spearman) of the means {found['rank_correlation']:.2f}; of single "
        f"seeds {min(by_seed):.2f} to {max(by_seed):.2f}.",
        f"Of {found['pairs_told_apart']} pairs that the real server tells apart, the simulator "
        f"orders {found['pairs_ordered_alike']} alike.",
    ]


def _estimate(estimate: Mapping[str, float]) -> str:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    return f"{short(value)} ({short(low)} to {short(high)})"


def short(value: float) -> str:
    """A number with three digits, or with all before the point."""
    return f"{value:.0f}" if abs(value) >= 100.0 else f"{value:.3g}"
