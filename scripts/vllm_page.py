"""Keeps the results of the scripts that measure a vLLM, and their tables in docs/real_vllm.md.

python -m scripts.vllm_page        writes the tables anew from the kept results
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Iterator
from typing import Any, Final

from agents.result_files import write_text
from scripts.local_server import ROOT
from scripts.write_readme_tables import filled

PAGE: Final = ROOT / "docs" / "real_vllm.md"
RESULTS: Final = ROOT / "docs" / "real_vllm"
# Of every experiment: the figures that its table shows, by heading.
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "batch_cap": {
        "running, mean": "running_mean",
        "waiting, mean": "waiting_mean",
        "ITL p50, ms": "itl_p50_ms",
        "TTFT p50, ms": "ttft_p50_ms",
        "tokens/s": "output_tps",
    },
    "kv_budget_fraction": {
        "preemptions": "preemptions",
        "running, mean": "running_mean",
        "KV in use": "kv_usage_fraction",
        "tokens/s": "output_tps",
    },
    "speculation": {
        "draft tokens": "draft_tokens",
        "accepted": "accepted_tokens",
        "TPOT p50, ms": "tpot_p50_ms",
        "tokens/s": "output_tps",
    },
    "priority_routing": {
        "TTFT mean, class 0, ms": "groups.0.ttft_mean_ms",
        "TTFT mean, class 2, ms": "groups.1.ttft_mean_ms",
        "tokens/s": "output_tps",
    },
    "prefill_chunk_tokens": {
        "ITL p99 of the short, ms": "groups.0.itl_p99_ms",
        "ITL p50 of the short, ms": "groups.0.itl_p50_ms",
        "TTFT p50 of the long, ms": "groups.1.ttft_p50_ms",
    },
}


def knobs_block(results: dict[str, Any]) -> Iterator[str]:
    """A table per experiment: medians of the rounds, and in brackets the least and the most."""
    moves, run = results["moves"], results["run"]
    yield (
        f"A change is in force after {moves['median_ms']:.0f} ms (median of {moves['moves']} "
        f"under 16 clients, {moves['max_ms']:.0f} ms at most). Every setting was held for "
        f"{run['seconds']:g} s in each of {run['rounds']} rounds; the tables have the median of "
        "the rounds and their range."
    )
    for name, settings in results["experiments"].items():
        columns = COLUMNS["speculation" if name.startswith("speculation") else name]
        yield ""
        yield f"| {name.replace('_', ' ')} | {' | '.join(columns)} |"
        yield f"|---|{'---|' * len(columns)}"
        for label, found in settings.items():
            cells = [_cell(found["rounds"], path) for path in columns.values()]
            yield f"| `{label.replace(' ', '=')}` | {' | '.join(cells)} |"


def faults_block(results: dict[str, Any]) -> Iterator[str]:
    """What happened in every episode, and its transcript."""
    for name, episode in results["episodes"].items():
        yield f"**{name}.** {episode['outcome']}"
        yield ""
        yield "```"
        yield from episode["transcript"]
        yield "```"
        yield ""


def tiers_block(results: dict[str, Any]) -> Iterator[str]:
    """How long a switch of tiers took, what it cost, and what became of it without a server."""
    took, failures = results["switch_ms"], results["failures"]
    problems = [each["problem"] for each in results["after_the_kill"] if each["problem"]]
    stayed = {each["in_force"] for each in results["after_the_kill"]}
    yield (
        f"{results['switches']} switches in {results['windows']} windows took "
        f"{statistics.median(took):.0f} ms (median; {took[0]:.0f} to {took[-1]:.0f}): knobs set on "
        f"the next server, and a canary of four tokens answered. {results['finished']} requests "
        f"finished, failures {failures or 'none'}. Then the second server was killed and its tier "
        f"asked for: the observations' `config` said {' and '.join(sorted(stayed))}, "
        f"{sum(each['finished'] for each in results['after_the_kill'])} requests finished in "
        f"{len(results['after_the_kill'])} windows, and each said "
        f"`{_without_port(problems[0]) if problems else 'nothing'}`. Afterwards the first server "
        f"{'had' if results['restored'] else 'did not have'} vLLM's defaults, and nobody held it."
    )


def _without_port(text: str) -> str:
    return re.sub(r":\d{4,5}\b", ":PORT", text)


def compare_block(results: dict[str, Any]) -> Iterator[str]:
    """A table per temperature: every policy against the server's defaults, in pairs."""
    for name, compared in sorted(results.items(), reverse=True):
        run, constant = compared["run"], compared["run"]["constant"]
        yield (
            f"**{name.capitalize()}**: {run['pairs']} pairs of {run['windows']} windows of "
            f"{run['window_s']:g} s; steps took {_range(compared, 'slowdown')} times the "
            f"profile's, the rate was {_range(compared, 'rate_scale')} times the task's. Constant: "
            f"batch cap {constant['batch_cap']}, depth {constant['speculation_depth']}, priority "
            f"{'on' if constant['priority_routing'] else 'off'}."
        )
        yield ""
        yield (
            "| policy | goodput, tokens/s | ratio to the defaults | foretold "
            "| ratio to the constant | within objectives | TTFT p99, ms | mean cap | mean depth "
            "| drafts accepted | valid windows |"
        )
        yield f"|{'---|' * 11}"
        for policy, found in compared["policies"].items():
            yield _compared(policy, found)
        yield ""


def _range(compared: dict[str, Any], figure: str) -> str:
    values = {round(pair[figure], 2) for pair in compared["policies"]["vLLM's defaults"]["pairs"]}
    return " to ".join(f"{each:g}" for each in sorted({min(values), max(values)}))


def _compared(policy: str, found: dict[str, Any]) -> str:
    foretold, drafts = found["predicted_ratio"], found["draft_tokens"]
    accepted = f"{found['accepted_tokens'] / drafts:.0%}" if drafts else "-"
    return (
        f"| {policy} | {found['goodput_tps']:.0f} | {_ratio(found['ratio'])} "
        f"| {'1' if foretold is None else format(foretold['value'], '.2f')} "
        f"| {_ratio(found['ratio_to_constant'])} "
        f"| {found['compliance']:.2f} | {found['ttft_p99_ms']:.0f} | {found['batch_cap']:.0f} "
        f"| {found['speculation_depth']:.1f} | {accepted} | {found['valid']:.2f} |"
    )


def _ratio(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return "1"
    return f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


BLOCKS: Final[dict[str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "knobs": knobs_block,
    "faults": faults_block,
    "compare": compare_block,
    "tiers": tiers_block,
}


def write_results(name: str, results: dict[str, Any]) -> None:
    """Keep results, one of BLOCKS, and write their block of the page anew."""
    text = json.dumps(_without_nan(results), indent=1) + "\n"
    write_text(RESULTS / f"{name}.json", text)
    write_page()


def read_kept(name: str) -> dict[str, Any]:
    """Results that were kept; empty if there are none."""
    path = RESULTS / f"{name}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return kept


def write_page() -> None:
    """Write every block whose results are kept."""
    page = PAGE.read_text(encoding="utf-8")
    for name, block in BLOCKS.items():
        kept = read_kept(name)
        if kept:
            page = filled(page, name, block(kept))
    write_text(PAGE, page)


def _cell(rounds: list[dict[str, Any]], path: str) -> str:
    values = sorted(value for each in rounds if (value := _at(each, path)) is not None)
    if not values:
        return "-"
    median = values[len(values) // 2]
    if values[0] == values[-1]:
        return _number(median)
    return f"{_number(median)} ({_number(values[0])}-{_number(values[-1])})"


def _at(figures: Any, path: str) -> float | None:
    for key in path.split("."):
        figures = figures[int(key)] if isinstance(figures, list) else figures[key]
    return None if figures is None else float(figures)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10.0 or value == 0.0 else f"{value:.2g}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    write_page()
