"""Measures how much a policy can gain over the best constant action: docs/headroom.md and .json.

    uv run python -m scripts.measure_headroom [--episodes 64] [--jobs 2]
    uv run python -m scripts.measure_headroom --only ppo ppo_generalist
    uv run python -m scripts.measure_headroom --check

A run that was killed goes on where it stopped: episodes are kept under .cache until the simulator,
a task, an agent or its weights change. `--only` plays some agents anew on the stored seeds and
leaves the stored results of the others alone: for new weights, or a new agent. `--check` is for
continuous integration: the stored numbers must be of this version, leave room, and be what is
played today.
Exit status 1 if a gate is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from agents.evaluation import EpisodeRecord, Job, jobs_of, play
from agents.fingerprints import sources_digest
from agents.kept_rows import KeptRows
from agents.parallel import Workers, add_worker_options, workers_of
from agents.registry import agent_entry, agent_names, make_agent
from agents.result_files import write_json, write_text
from evaluate import episodes_bar
from llmserve_env.errors import LLMServeError
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.headroom_report import (
    CONSTANT,
    LEAST_HEADROOM_KEPT,
    REACTIVE,
    Gate,
    all_gates,
    headroom_gates,
    page,
    task_results,
)
from simulator.environment import ServingEnvironment

ROOT: Final = Path(__file__).parent.parent
REPORT: Final = ROOT / "docs" / "headroom.md"
RESULTS: Final = ROOT / "docs" / "headroom.json"
DESIGNS: Final = "headroom_designs.md"
CACHE: Final = ROOT / ".cache" / "headroom"
SPLIT: Final = "test"
LEAST_EPISODES: Final = 64
CHECKED_AGENTS: Final = (CONSTANT, REACTIVE)
CHECKED_SEEDS: Final = 3
# Another processor may round the last bits otherwise.
TOLERANCE: Final = 1e-9


def kept_records(path: Path) -> KeptRows[Job]:
    """Records kept on disk, so that nothing is played twice."""
    return KeptRows(path, lambda row: Job(row["agent"], row["task_id"], row["seed"]))


def measure(
    agents: Sequence[str], seeds: Sequence[int], *, workers: Workers, kept: KeptRows[Job]
) -> dict[str, Any]:
    """All results, ready for JSON; only what is not kept yet is played."""
    catalogue = shipped_catalogue()
    task_ids = [task.task_id for task in catalogue.tasks]
    missing = [job for job in jobs_of(agents, task_ids, seeds) if job not in kept]

    with episodes_bar(len(missing)) as advance:

        def keep(record: EpisodeRecord) -> None:
            kept.add(asdict(record))
            advance(record)

        play(missing, workers=workers, on_episode=keep)
    return {
        "environment_version": catalogue.environment_version,
        "split": SPLIT,
        "seeds": list(seeds),
        "best_constants": {
            task.task_id: best_constant_action(task).model_dump(mode="json")
            for task in catalogue.tasks
        },
        "tasks": {
            task.task_id: task_results(
                [EpisodeRecord(**kept[job]) for job in jobs_of(agents, [task.task_id], seeds)],
                agents,
                windows=task.windows,
            )
            for task in catalogue.tasks
        },
    }


def renewed(
    stored: dict[str, Any], agents: Sequence[str], *, workers: Workers, kept: KeptRows[Job]
) -> dict[str, Any]:
    """The stored results with these agents played anew on the same seeds.

    Raises:
        ValueError: If the stored results are of another version of the environment.
    """
    version = shipped_catalogue().environment_version
    if stored["environment_version"] != version:
        raise ValueError(f"stored results are of {stored['environment_version']}, not {version}")
    # What differences are taken to is played with them.
    played = list(dict.fromkeys([CONSTANT, REACTIVE, *agents]))
    found = measure(played, stored["seeds"], workers=workers, kept=kept)
    for task_id, rows in stored["tasks"].items():
        rows |= {agent: found["tasks"][task_id][agent] for agent in agents}
    return stored


def best_constant_action(task: TaskSpec) -> ServeAction:
    """The action that the registry's best constant agent plays on this task."""
    agent = make_agent(CONSTANT)
    observation = ServingEnvironment().reset(task_id=task.task_id, seed=0)
    agent.reset(task, 0)
    return agent.act(observation)


def read_results(path: Path = RESULTS) -> dict[str, Any]:
    """The stored results.

    Raises:
        FileNotFoundError: Naming the command that makes them.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run python -m scripts.measure_headroom")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def check(results: dict[str, Any]) -> list[Gate]:
    """Whether stored results are of this version, leave room, and are what is played today."""
    version = shipped_catalogue().environment_version
    stored = results["environment_version"]
    gates = [Gate("all", f"environment version {version}", stored, stored == version)]
    gates += headroom_gates(results, LEAST_HEADROOM_KEPT)
    seeds = results["seeds"][:CHECKED_SEEDS]
    for record in play(jobs_of(CHECKED_AGENTS, list(results["tasks"]), seeds)):
        known = results["tasks"][record.task_id][record.agent]["raw_scores"]
        expected = known[seeds.index(record.seed)]
        gates.append(
            Gate(
                record.task_id,
                f"{record.agent} on seed {record.seed} reaches {expected:.6f}",
                f"{record.raw_score:.6f}",
                abs(record.raw_score - expected) <= TOLERANCE,
            )
        )
    return gates


def verdict(gates: Sequence[Gate]) -> int:
    """Print every gate; 1 if one of them is missed."""
    for gate in gates:
        print(
            f"{'met   ' if gate.is_met else 'MISSED'} {gate.task_id}: {gate.condition}; "
            f"reached {gate.reached}"
        )
    return int(not all(gate.is_met for gate in gates))


def main(argv: Sequence[str]) -> int:
    """0 if every gate is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=LEAST_EPISODES, help="test seeds per task")
    add_worker_options(parser)
    parser.add_argument("--check", action="store_true", help="check the stored results only")
    parser.add_argument("--only", nargs="+", choices=agent_names(), help="agents to play anew")
    arguments = parser.parse_args(argv)
    if arguments.check:
        return verdict(check(read_results()))
    if arguments.episodes < LEAST_EPISODES:
        parser.error(f"--episodes must be at least {LEAST_EPISODES}, got {arguments.episodes}")
    agents = agent_names()
    seeds, workers = split_seeds(SPLIT, arguments.episodes), workers_of(arguments)
    with kept_records(CACHE / sources_digest() / "records.jsonl") as kept:
        if arguments.only:
            results = renewed(read_results(), arguments.only, workers=workers, kept=kept)
        else:
            results = measure(agents, seeds, workers=workers, kept=kept)
    write_json(RESULTS, results)
    descriptions = {name: agent_entry(name).description for name in agents}
    write_text(REPORT, page(results, descriptions, designs=DESIGNS))
    return verdict(all_gates(results))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (LLMServeError, FileNotFoundError, ValueError) as problem:
        sys.exit(f"measure_headroom: {problem}")
