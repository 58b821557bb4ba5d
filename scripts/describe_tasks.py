"""Prints the traffic of all tasks and variants over many seeds: load, rates, burstiness, lengths.

Usage: python scripts/describe_tasks.py [--seeds 40]
"""

from __future__ import annotations

import argparse

import numpy as np

from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import build_deployment
from simulator.load import offered_load
from simulator.workload import task_requests
from simulator.workload_facts import describe

# Seeds from here on are for describing tasks; training, validation and test seeds lie elsewhere.
FIRST_SEED = 900_000


def rows(task: TaskSpec, seeds: range) -> dict[str, list[float]]:
    """One list per quantity, one entry per seed; quantities without samples are left out."""
    horizon_s = task.windows * task.window_s
    deployment = build_deployment(task)
    table: dict[str, list[float]] = {}
    for seed in seeds:
        batch = task_requests(task, seed)
        load = offered_load(batch, deployment, horizon_s=horizon_s)
        facts = describe(batch, horizon_s=horizon_s)
        values = {
            "rho, mean": load.mean,
            "rho, busiest 10 s": load.peak,
            "requests per second": facts.mean_rps,
            "busiest second, requests": facts.peak_1s_rps,
            "dispersion 1 s": facts.dispersion_1s,
            "dispersion 10 s": facts.dispersion_10s,
            "dispersion 60 s": facts.dispersion_60s,
            "prompt tokens, mean": facts.mean_prompt_tokens,
            "prompt tokens, p99": facts.p99_prompt_tokens,
            "output tokens, mean": facts.mean_output_tokens,
            "output tokens, p99": facts.p99_output_tokens,
        }
        for name, value in values.items():
            if value is not None:
                table.setdefault(name, []).append(value)
    return table


def main() -> None:
    """Print one table per task or variant: mean and range over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="seeds per task")
    arguments = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    for task in shipped_catalogue().playable:
        print(f"{task.task_id} ({arguments.seeds} seeds): mean [least, most]")
        for name, values in rows(task, seeds).items():
            print(f"  {name:26} {np.mean(values):9.2f} [{min(values):.2f}, {max(values):.2f}]")


if __name__ == "__main__":
    main()
