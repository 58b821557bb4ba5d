"""Times environment and training on this machine, against others' in the same run.

    uv run python -m scripts.benchmark_speed [--write] [--json FILE] [--repeats 5]
    uv run python -m scripts.benchmark_speed --profile

`--write` writes docs/performance.md; `--profile` tells where the time goes and nothing else. PPO
is timed where torch is installed, stable-baselines3 where it is (extras train and sb3). Absolute
figures belong to the machine; the ratios travel.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import llmserve_env  # noqa: F401  # registers the Gymnasium ids
from llmserve_env.tasks import shipped_catalogue
from scripts.speed_cases import (
    CARTPOLE,
    ROOT,
    Timing,
    bytes_per_environment,
    gym_timings,
    kernel_timings,
    output_growth,
    start_seconds,
)
from scripts.speed_profile import Profile, profile_rows, profiles
from scripts.vector_speed import VectorTiming, vector_cases, vector_rows, vector_timings

REPORT: Final = ROOT / "docs" / "performance.md"
SIZES: Final = (1, 16, 256)
GYM_EPISODES: Final = 5
KERNEL_EPISODES: Final = 16
GROWTH_RATES_RPS: Final = (2.0, 10.0)
OPTIONAL: Final = ("torch", "stable_baselines3")  # timed where they are installed


def measure(repeats: int) -> dict[str, Any]:
    """All results, ready for JSON."""
    first_start_s, cached_start_s = start_seconds()
    return {
        "machine": _machine(),
        "repeats": repeats,
        "first_start_s": first_start_s,
        "cached_start_s": cached_start_s,
        "gymnasium": [asdict(row) for row in gym_timings(repeats, GYM_EPISODES)],
        "kernel": [asdict(row) for row in kernel_timings(repeats, SIZES, KERNEL_EPISODES)],
        "bytes_per_environment": {
            task.task_id: bytes_per_environment(task) for task in shipped_catalogue().tasks
        },
        "output_growth": {
            f"{rate:g} rps": output_growth(rate, repeats) for rate in GROWTH_RATES_RPS
        },
        "vector": [asdict(row) for row in vector_timings(repeats, vector_cases())],
        "learning": _learning(repeats),
        "missing": [name for name in OPTIONAL if find_spec(name) is None],
        "profile": [asdict(row) for row in profiles()],
    }


def report(results: dict[str, Any]) -> str:
    """The results as a page of Markdown."""
    gym = [Timing(**row) for row in results["gymnasium"]]
    kernel = [Timing(**row) for row in results["kernel"]]
    lines = [
        "# Performance",
        "Written by `uv run python -m scripts.benchmark_speed --write`. If not said otherwise,",
        "one core and CPU seconds, so that other load on the machine counts little; the median of",
        f"{results['repeats']} repeats with the least and the most. {results['machine']}.",
        f"The ratio is to one `{CARTPOLE}` of Gymnasium, timed in the same repeat: it carries over",
        "to another machine, the absolute figures do not.",
        "",
        "## Gymnasium steps, one environment",
        "Whole episodes through `gymnasium.make` with its wrappers, resets included.",
        "",
        *_table("environment", "steps/s", gym),
        "",
        *_vector_section(results),
        "",
        *_learning_section(results),
        "",
        *_profile_section(results),
        "",
        "## Windows of the engine, one kernel call",
        "`<load> x <environments>`, the task's default action, whole episodes without resets. The",
        "fixed rates are static_workload's requests at that rate; 20 and 50 rps overload it.",
        "",
        *_table("load x environments", "windows/s", kernel),
        "",
        "## Starting",
        "Wall time of a new process up to its first step, imports included.",
        "",
        "| | s |",
        "|---|---|",
        f"| nothing compiled yet | {results['first_start_s']:.1f} |",
        f"| compiled code in the cache | {results['cached_start_s']:.1f} |",
        "",
        "## Memory",
        "State arrays of one environment, room for its requests included.",
        "",
        "| task | KB |",
        "|---|---|",
        *(
            f"| {task} | {size / 1e3:.0f} |"
            for task, size in _items(results, "bytes_per_environment")
        ),
        "",
        "## Longer outputs",
        "The same arrivals with 100 and with 1000 output tokens. Decode steps in which nothing",
        "happens are taken in one stride, so time follows requests and events, not tokens. At 10",
        "rps ten times the tokens fill the KV cache: preemptions are events too.",
        "",
        "| rate | time grows by | tokens served grow by |",
        "|---|---|---|",
        *(
            f"| {rate} | {growth:.2f} | {tokens:.1f} |"
            for rate, (growth, tokens) in _items(results, "output_growth")
        ),
    ]
    return "\n".join(lines) + "\n"


def _learning(repeats: int) -> list[dict[str, Any]]:
    if find_spec("torch") is None:
        return []
    from scripts.learning_speed import learning_timings

    return [asdict(row) for row in learning_timings(repeats)]


def _vector_section(results: dict[str, Any]) -> list[str]:
    return [
        "## Vector environments",
        '`gymnasium.make_vec` with `vectorization_mode="vector_entry_point"`; the fixed rates are',
        "static_workload's requests at that rate. Steps of single environments per second of wall",
        "time without resets; `with resets`: whole episodes, each on traffic of its own, which is",
        "drawn at reset. `per CPU s` counts all threads and is what load on the machine changes",
        "least; the ratio is of these, to as many synchronous CartPoles.",
        "",
        *vector_rows([VectorTiming(**row) for row in results["vector"]]),
    ]


def _learning_section(results: dict[str, Any]) -> list[str]:
    lines = [
        "## Training",
        "PPO as `train.py` runs it with the shipped recipe: playing, new episodes and updates. One",
        "thread of torch; the threads named are those that simulate. Steps per second of wall time",
        "without validation, which takes the seconds named each time; `1M steps` is computed: a",
        "million steps with their validations. stable-baselines3 learns with the same count of",
        "steps per update, minibatches and epochs, on two networks of two layers of 64 too. The",
        "ratio is to it, by CPU seconds.",
        "",
    ]
    lines += [f"Not timed, for it was not installed: {name}." for name in results["missing"]]
    if results["learning"]:
        from scripts.learning_speed import LearningTiming, learning_rows

        lines += learning_rows([LearningTiming(**row) for row in results["learning"]])
    return lines


def _profile_section(results: dict[str, Any]) -> list[str]:
    return [
        "## Where the time goes",
        "Shares of CPU time on one thread, in whole episodes of 256 environments under the best",
        "constant and in a training of a million steps.",
        "",
        *profile_rows([Profile(**row) for row in results["profile"]]),
    ]


def _table(case: str, unit: str, timings: Sequence[Timing]) -> list[str]:
    return [
        f"| {case} | {unit} | least | most | ratio |",
        "|---|---|---|---|---|",
        *(
            f"| {row.case} | {row.median:,.0f} | {min(row.per_s):,.0f} | {max(row.per_s):,.0f} "
            f"| {statistics.median(row.ratios):.3f} |"
            for row in timings
        ),
    ]


def _items(results: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    return list(results[key].items())


def _machine() -> str:
    names = ["numpy", "numba", "gymnasium", *(name for name in OPTIONAL if find_spec(name))]
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    python = platform.python_version()
    return f"{_processor()}, {os.cpu_count()} logical cores; Python {python}, {packages}"


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of every measurement")
    parser.add_argument("--json", type=Path, help="write all repeats to this file")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, no more")
    arguments = parser.parse_args()
    if arguments.profile:
        print("\n".join(profile_rows(profiles())))
        return
    results = measure(arguments.repeats)
    page = report(results)
    print(page)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.write:
        REPORT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
