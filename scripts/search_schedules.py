"""Attacks the grade with an optimiser that sees a seed's future: docs/exploits.md and .json.

    uv run --extra search python -m scripts.search_schedules [--evaluations 6000]

CMA-ES over open-loop schedules of one test seed per task: what is added, for some windows at a
time, to every active knob of the best constant action and of what the clairvoyant planner played.
A schedule far above the planner would show a hole in the simulator, so what it does is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from agents.registry import make_agent
from agents.result_files import write_json, write_text
from agents.rollout import Episode, play_episode
from grader.references import TaskReference, shipped_references
from grader.scoring import HIGHEST_SCORE, score_unclipped
from llmserve_env.models import KNOBS, ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.measure_headroom import ROOT
from scripts.schedules import (
    SEGMENT_WINDOWS,
    ScheduleAgent,
    ScheduleSpace,
    maximise,
    schedule_values,
)
from simulator.engine import action_row
from simulator.reward import TERMS
from simulator.rng import stream

REPORT: Final = ROOT / "docs" / "exploits.md"
DATA: Final = ROOT / "docs" / "exploits.json"
SPLIT: Final = "test"
# First step in the box [-1, 1] of every knob: what is good already is moved by little, which with
# the dead zone of schedules.py means in few places.
CONSTANT_STEP: Final = 0.2
PLANNER_STEP: Final = 0.06


@dataclass(frozen=True, slots=True)
class Attack:
    """What the search found on one seed of a task.

    Attributes:
        task_id: Task.
        seed: Of the episode.
        evaluations: Schedules that were played.
        raw_scores: Mean reward of the best constant, the planner, each start and each result.
        score: The best schedule on the grader's scale, not clipped.
        planner_score: The planner on the same scale.
        seed_score: The best schedule on this seed's own scale, on which the planner is 1; None
            where the planner does not beat the best constant.
        terms: Mean terms of the reward: the best constant, the planner, the best schedule.
        habits: Mean knobs and changes per episode of the same three.
    """

    task_id: str
    seed: int
    evaluations: int
    raw_scores: dict[str, float]
    score: float
    planner_score: float
    seed_score: float | None
    terms: dict[str, dict[str, float]]
    habits: dict[str, dict[str, float]]

    @property
    def is_suspicious(self) -> bool:
        """Whether the schedule beats the planner by more than the clip hides."""
        return self.score > max(1.0, self.planner_score) + (1.0 - HIGHEST_SCORE)


def attack(task: TaskSpec, reference: TaskReference, seed: int, *, evaluations: int) -> Attack:
    """Search the schedules of one episode from both starts."""
    constant = [reference.best_constant] * task.windows
    planner = play_episode(make_agent("clairvoyant"), task, seed)
    spaces = {
        "from best constant": (ScheduleSpace(task, constant), CONSTANT_STEP),
        "from planner": (ScheduleSpace(task, planner.actions), PLANNER_STEP),
    }
    raw: dict[str, float] = {}
    found: list[tuple[float, Sequence[ServeAction]]] = []
    for name, (space, step) in spaces.items():
        result = maximise(
            schedule_values(space, seed),
            np.zeros(space.size),
            step=step,
            evaluations=evaluations // len(spaces),
            seed=int(stream(seed, f"search/{name}").integers(2**31)),
        )
        raw[f"{name}, start"] = result.start_value
        raw[f"{name}, found"] = result.value
        found.append((result.value, space.actions(result.vector)))
    _, best = max(found, key=lambda pair: pair[0])
    episodes = {
        "best constant": play_episode(ScheduleAgent(constant), task, seed),
        "planner": planner,
        "schedule": play_episode(ScheduleAgent(best), task, seed),
    }
    return _attack(episodes, raw, reference, evaluations)


def _attack(
    episodes: dict[str, Episode],
    raw: dict[str, float],
    reference: TaskReference,
    evaluations: int,
) -> Attack:
    scores = {name: episode.mean_reward for name, episode in episodes.items()}
    constant, planner, best = (scores[name] for name in ("best constant", "planner", "schedule"))
    first = episodes["planner"]
    return Attack(
        task_id=first.task_id,
        seed=first.seed,
        evaluations=evaluations,
        raw_scores=scores | raw,
        score=score_unclipped(best, constant, reference),
        planner_score=score_unclipped(planner, constant, reference),
        seed_score=0.5 + 0.5 * (best - constant) / (planner - constant)
        if planner > constant
        else None,
        terms={
            name: dict(zip(TERMS, episode.terms.mean(axis=0).tolist(), strict=True))
            for name, episode in episodes.items()
        },
        habits={name: _habits(episode.actions) for name, episode in episodes.items()},
    )


def _habits(actions: Sequence[ServeAction]) -> dict[str, float]:
    rows = np.array([action_row(action) for action in actions])
    moved = np.diff(rows, axis=0) != 0.0
    means = {f"mean {knob}": float(rows[:, at].mean()) for at, knob in enumerate(KNOBS)}
    return means | {"knobs moved": float(moved.sum()), "tier switches": float(moved[:, 3].sum())}


def page(found: Sequence[Attack], *, version: str) -> str:
    """The report in Markdown."""
    lines = [
        "# What an optimiser finds that knows the future",
        "Written by `uv run --extra search python -m scripts.search_schedules`. Environment "
        f"{version}.",
        "CMA-ES over open-loop schedules on one test seed per task: offsets, each for "
        f"{SEGMENT_WINDOWS} windows, to the",
        "best constant action and to what the clairvoyant planner played.",
        "Grades are scaled by the planner's mean lead over all test seeds, so one seed's planner",
        "is not exactly 1; on the seed's own scale it is.",
        "",
        "| task | seed | schedules played | planner's score | schedule's score "
        "| on the seed's own scale | |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.task_id} | {row.seed} | {row.evaluations} | {row.planner_score:.3f} "
        f"| {row.score:.3f} | {'-' if row.seed_score is None else f'{row.seed_score:.3f}'} "
        f"| {'**above 1 and the planner**' if row.is_suspicious else ''} |"
        for row in found
    ]
    for row in found:
        lines += ["", f"## {row.task_id}", *_comparison(row)]
    return "\n".join(lines) + "\n"


def _comparison(found: Attack) -> list[str]:
    names = list(found.terms)
    rows: list[tuple[str, dict[str, Any]]] = [
        (term, {name: found.terms[name][term] for name in names}) for term in TERMS
    ]
    rows += [
        (habit, {name: found.habits[name][habit] for name in names})
        for habit in found.habits[names[0]]
    ]
    starts = ", ".join(f"{name} {raw:.4f}" for name, raw in found.raw_scores.items())
    return [
        f"Raw scores: {starts}.",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        *(
            f"| {label} | {' | '.join(f'{values[name]:.3f}' for name in names)} |"
            for label, values in rows
        ),
    ]


def main(argv: Sequence[str]) -> int:
    """0 if no schedule beats the planner by more than the clip hides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=6_000, help="schedules per task")
    arguments = parser.parse_args(argv)
    catalogue = shipped_catalogue()
    version = catalogue.environment_version
    found = []
    for task in catalogue.tasks:
        reference = shipped_references().get(task.task_id, version)
        (seed,) = split_seeds(SPLIT, 1)
        found.append(attack(task, reference, seed, evaluations=arguments.evaluations))
    write_json(DATA, {"environment_version": version, "attacks": [asdict(row) for row in found]})
    write_text(REPORT, page(found, version=version))
    print(page(found, version=version))
    return int(any(row.is_suspicious for row in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
