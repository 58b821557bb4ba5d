"""Turns the records of all agents into tables, and into gates on the room above the constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from agents.evaluation import EpisodeRecord
from agents.statistics import Difference, interquartile_mean, mean, paired_difference
from grader.references import AgentReference, TaskReference
from grader.scoring import score_unclipped
from llmserve_env.models import ServeAction
from simulator.reward import TERMS

RANDOM: Final = "random"
VLLM_DEFAULT: Final = "vllm_default"
HEURISTIC: Final = "heuristic"
CONSTANT: Final = "best_constant"
REACTIVE: Final = "reactive"
PLANNER: Final = "clairvoyant"

# Gates of the project's plan for the tasks, in raw score: what makes a task worth learning.
LEAST_HEADROOM: Final = {
    "static_workload": 0.03,
    "bursty_workload": 0.08,
    "adversarial_multitenant": 0.08,
}
# What continuous integration holds: below it a change has made a task not worth learning.
LEAST_HEADROOM_KEPT: Final = {
    "static_workload": 0.03,
    "bursty_workload": 0.05,
    "adversarial_multitenant": 0.05,
}
LEAST_STANDARD_ERRORS: Final = 5.0
LEAST_OVER_REACTIVE: Final = {"adversarial_multitenant": 0.025}
RAW_RANGES: Final = {VLLM_DEFAULT: (0.0, 0.4), CONSTANT: (0.70, 0.85), PLANNER: (0.83, 0.97)}
RANKED_TASKS: Final = ("bursty_workload", "adversarial_multitenant")
RANKING: Final = (VLLM_DEFAULT, HEURISTIC, CONSTANT, REACTIVE, PLANNER)


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition on a task: what was asked for, what was reached, whether that suffices."""

    task_id: str
    condition: str
    reached: str
    is_met: bool


def task_results(
    records: Sequence[EpisodeRecord], agents: Sequence[str], *, windows: int
) -> dict[str, Any]:
    """Per agent of one task: raw scores seed by seed, their statistics, terms and differences.

    Args:
        records: Of the task, every agent on the same seeds in the same order.
        agents: Whose results; the best constant action and the reactive controller among them.
        windows: Of an episode.
    """
    by_agent = {name: [row for row in records if row.agent == name] for name in agents}
    raw = {name: [row.raw_score for row in rows] for name, rows in by_agent.items()}
    return {
        name: {
            "raw_scores": raw[name],
            "raw_mean": asdict(mean(raw[name])),
            "raw_sd": float(np.std(raw[name], ddof=1)),
            "interquartile_mean": asdict(interquartile_mean(raw[name])),
            "return": asdict(mean([row.total_reward for row in rows])),
            "windows": windows,
            "to_best_constant": _difference(paired_difference(raw[name], raw[CONSTANT])),
            "to_reactive": _difference(paired_difference(raw[name], raw[REACTIVE])),
            "terms": {term: asdict(mean([row.terms[term] for row in rows])) for term in TERMS},
            "metrics": {
                metric: asdict(mean([row.metrics[metric] for row in rows]))
                for metric in rows[0].metrics
            },
        }
        for name, rows in by_agent.items()
    }


def _difference(difference: Difference) -> dict[str, float | None]:
    return asdict(difference) | {"standard_errors": difference.standard_errors}


def task_reference(results: dict[str, Any], task_id: str) -> TaskReference:
    """The anchors that a task's grades are scaled by.

    Raises:
        ValueError: If an anchor lies on the wrong side of the best constant action.
    """
    agents = results["tasks"][task_id]
    means = {name: float(found["raw_mean"]["value"]) for name, found in agents.items()}
    return TaskReference(
        best_constant=ServeAction(**results["best_constants"][task_id]),
        agents={name: _spread(found) for name, found in agents.items()},
        gap_above=means[PLANNER] - means[CONSTANT],
        gap_below=means[CONSTANT] - means[RANDOM],
        gap_vllm_default=means[CONSTANT] - means[VLLM_DEFAULT],
    )


def _spread(found: dict[str, Any]) -> AgentReference:
    estimate = found["raw_mean"]
    return AgentReference(
        raw_mean=estimate["value"],
        raw_sd=found["raw_sd"],
        ci_low=estimate["low"],
        ci_high=estimate["high"],
    )


def headroom_gates(results: dict[str, Any], least: dict[str, float]) -> list[Gate]:
    """Whether every task leaves that much room between best constant and clairvoyant planner."""
    found = []
    for task_id, asked in least.items():
        room = results["tasks"][task_id][PLANNER]["to_best_constant"]
        errors = room["standard_errors"] or 0.0
        found.append(
            Gate(
                task_id,
                f"{PLANNER} - {CONSTANT} >= {asked:g}, {LEAST_STANDARD_ERRORS:g} standard errors",
                f"{room['value']:.4f}, {errors:.1f} standard errors",
                room["value"] >= asked and errors >= LEAST_STANDARD_ERRORS,
            )
        )
    return found


def all_gates(results: dict[str, Any]) -> list[Gate]:
    """Every condition of the plan for the tasks."""
    found = headroom_gates(results, LEAST_HEADROOM)
    for task_id, asked in LEAST_OVER_REACTIVE.items():
        room = results["tasks"][task_id][PLANNER]["to_reactive"]["value"]
        condition = f"{PLANNER} - {REACTIVE} >= {asked:g}"
        found.append(Gate(task_id, condition, f"{room:.4f}", room >= asked))
    for task_id, agents in results["tasks"].items():
        for name, (low, high) in RAW_RANGES.items():
            value = agents[name]["raw_mean"]["value"]
            condition = f"raw score of {name} in {low:.2f} to {high:.2f}"
            found.append(Gate(task_id, condition, f"{value:.3f}", low <= value <= high))
        found.append(_ranking_gate(task_id, agents))
    return found


def _ranking_gate(task_id: str, agents: dict[str, Any]) -> Gate:
    values = [agents[name]["raw_mean"]["value"] for name in RANKING]
    is_ranked = all(low < high for low, high in pairwise(values))
    condition = " < ".join(RANKING)
    if task_id not in RANKED_TASKS:
        condition += " (told, not asked for)"
    reached = " / ".join(f"{value:.3f}" for value in values)
    return Gate(task_id, condition, reached, is_ranked)


def page(results: dict[str, Any], descriptions: dict[str, str], *, designs: str) -> str:
    """The report in Markdown.

    Args:
        results: As measure_headroom writes them.
        descriptions: Of the agents, by name.
        designs: Name of the file that tells which task designs failed.
    """
    lines = [
        "# Headroom: what there is to learn",
        "Written by `uv run python -m scripts.measure_headroom` from the numbers in",
        f"`headroom.json`: environment {results['environment_version']}, split "
        f"`{results['split']}`, {len(results['seeds'])} seeds per task, the same for every agent.",
        "Raw score: mean reward of a window under the task's own weights; return: sum of the",
        "rewards; score: the grader's scale, not clipped, on which random actions are 0, the best",
        "constant action is 0.5 and the clairvoyant planner is 1.",
        "Brackets hold 95 % bootstrap intervals over seeds; differences are paired by seed.",
        "Agents are tuned on training seeds and chosen on validation seeds. How a task came to be",
        f"as it is, and which designs failed: [{designs}]({designs}).",
        "",
        "## What was asked for",
        *_gate_table(all_gates(results)),
        "",
        "## Agents",
        "| agent | |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in descriptions.items()),
    ]
    for task_id, agents in results["tasks"].items():
        scores = _score_table(agents, _reference_or_none(results, task_id))
        lines += ["", f"## {task_id}", *scores, "", *_term_table(agents)]
    return "\n".join(lines) + "\n"


def _gate_table(gates: Sequence[Gate]) -> list[str]:
    rows = [
        f"| {gate.task_id} | {gate.condition} | {gate.reached} "
        f"| {'met' if gate.is_met else '**missed**'} |"
        for gate in gates
    ]
    return ["| task | asked for | reached | |", "|---|---|---|---|", *rows]


def _reference_or_none(results: dict[str, Any], task_id: str) -> TaskReference | None:
    """The anchors, or None where they make no scale: the report must tell of that, too."""
    try:
        return task_reference(results, task_id)
    except ValueError:
        return None


def _score_table(agents: dict[str, Any], reference: TaskReference | None) -> list[str]:
    lines = [
        "| agent | score | raw score | interquartile mean | return | to best constant "
        "| standard errors | to reactive |",
        "|---|---|---|---|---|---|---|---|",
    ]
    constant = agents[CONSTANT]["raw_mean"]["value"]
    for name, found in _best_first(agents):
        errors = found["to_best_constant"]["standard_errors"]
        raw = found["raw_mean"]["value"]
        score = "-" if reference is None else f"{score_unclipped(raw, constant, reference):.3f}"
        lines.append(
            f"| {name} | {score} | {_bracketed(found['raw_mean'])} "
            f"| {found['interquartile_mean']['value']:.4f} "
            f"| {_bracketed(found['return'], digits=1)} "
            f"| {_bracketed(found['to_best_constant'], sign='+')} "
            f"| {'-' if errors is None else f'{errors:+.1f}'} "
            f"| {_bracketed(found['to_reactive'], sign='+')} |"
        )
    return lines


def _term_table(agents: dict[str, Any]) -> list[str]:
    lines = [
        "Terms of the reward, before weights:",
        "",
        f"| agent | {' | '.join(TERMS)} |",
        f"|---|{'---|' * len(TERMS)}",
    ]
    for name, found in _best_first(agents):
        terms = " | ".join(_bracketed(found["terms"][term], digits=3) for term in TERMS)
        lines.append(f"| {name} | {terms} |")
    return lines


def _best_first(agents: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(agents.items(), key=lambda item: item[1]["raw_mean"]["value"], reverse=True)


def _bracketed(estimate: dict[str, float], *, digits: int = 4, sign: str = "") -> str:
    low, high = (f"{estimate[end]:{sign}.{digits}f}" for end in ("low", "high"))
    return f"{estimate['value']:{sign}.{digits}f} [{low}, {high}]"
