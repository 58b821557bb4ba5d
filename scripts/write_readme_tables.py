"""Writes the scores in README.md, and what variants say, from result files between markers.

    uv run python -m scripts.write_readme_tables --play 100 [--jobs 2]    # evaluate.py, then write
    uv run python -m scripts.write_readme_tables                          # write
    uv run python -m scripts.write_readme_tables --check

The scores are those of docs/results/scores.json, which evaluate.py writes; the variants are those
of docs/variants.json, which measure_variants.py writes. Exit status 1 if `--check` finds another
text in README.md than the files say.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import evaluate
from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import shipped_catalogue
from scripts.measure_variants import RESULTS as VARIANTS
from scripts.measure_variants import ROOT
from scripts.variants_report import bracketed, verdict

README: Final = ROOT / "README.md"
SCORES: Final = ROOT / "docs" / "results" / "scores.json"
LEAST_EPISODES: Final = 64
AGENTS: Final = (
    "vllm_default",
    "heuristic",
    "best_constant",
    "reactive",
    "kv_rule",
    "ppo",
    "ppo_generalist",
)
HEADINGS: Final = {
    "vllm_default": "vLLM's defaults",
    "heuristic": "heuristic",
    "best_constant": "best constant",
    "reactive": "reactive, tuned",
    "kv_rule": "KV rule, tuned",
    "ppo": "PPO",
    "ppo_generalist": "PPO, one for all",
}
# The others are there to compare with; intervals everywhere would not fit a page.
WITH_INTERVAL: Final = ("reactive", "kv_rule", "ppo", "ppo_generalist")


def scores_block(results: dict[str, Any]) -> Iterator[str]:
    """The table of scores, line by line.

    Args:
        results: As evaluate.py writes them, all agents on all graded tasks.
    """
    yield f"Score on {len(results['seeds'])} test seeds of every task, 95 % intervals:"
    yield ""
    yield from _header(results["agents"])
    found = {(row["task_id"], row["agent"]): row["score"] for row in results["summaries"]}
    for task_id in dict.fromkeys(row["task_id"] for row in results["summaries"]):
        cells = [
            bracketed(found[task_id, name], digits=2)
            if name in WITH_INTERVAL
            else f"{found[task_id, name]['value']:.2f}"
            for name in results["agents"]
        ]
        yield f"| `{task_id}` | {' | '.join(cells)} |"


def variants_block(results: dict[str, Any]) -> Iterator[str]:
    """What the variants say about the learnt policies, line by line.

    Args:
        results: As measure_variants.py writes them.
    """
    count, seeds = len(results["variants"]), len(results["seeds"])
    page = "[docs/variants.md](docs/variants.md)"
    yield f"On {count} variants of the tasks, {seeds} test seeds each ({page}):"
    yield ""
    yield from verdict(results)


def _header(agents: Sequence[str]) -> Iterator[str]:
    yield f"| | {' | '.join(HEADINGS[name] for name in agents)} |"
    yield f"|---|{'---|' * len(agents)}"


def filled(readme: str, name: str, lines: Iterator[str]) -> str:
    """The text with other lines between the markers of this name.

    Raises:
        InvalidInputError: If the text does not have both markers, once and in order.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, found_begin, rest = readme.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end) or begin in after:
        raise InvalidInputError(f"README.md must hold {begin.strip()} and {end}, once and in order")
    return before + begin + "\n".join(lines) + "\n" + end + after


def read_results(path: Path, *, made_by: str) -> dict[str, Any]:
    """Results of this environment version, on test seeds enough.

    Raises:
        InvalidInputError: If there are none, naming the command that makes them.
    """
    if not path.exists():
        raise InvalidInputError(f"{path} is missing; run {made_by}")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    version = shipped_catalogue().environment_version
    made = results["environment_version"], results["split"]
    if made != (version, "test") or len(results["seeds"]) < LEAST_EPISODES:
        raise InvalidInputError(
            f"{path} is of version {made[0]} and {len(results['seeds'])} seeds of the split "
            f"{made[1]!r}; need version {version} and {LEAST_EPISODES} test seeds: run {made_by}"
        )
    return results


def tables_in(readme: str) -> str:
    """The text with the tables that the result files make.

    Raises:
        InvalidInputError: If results or markers are missing.
    """
    play = "python -m scripts.write_readme_tables --play 100"
    scores = read_results(SCORES, made_by=play)
    variants = read_results(VARIANTS, made_by="python -m scripts.measure_variants")
    readme = filled(readme, "scores", scores_block(scores))
    return filled(readme, "variants", variants_block(variants))


def play(episodes: int, *, processes: int) -> int:
    """Have evaluate.py write the scores; its exit status."""
    return evaluate.main(
        [
            *("--agent", ",".join(AGENTS), "--baselines", "none", "--task", "all"),
            *("--episodes", str(episodes), "--jobs", str(processes)),
            *("--json", str(SCORES), "--brief"),
        ]
    )


def main(argv: Sequence[str]) -> int:
    """0 if README.md says what the files say, at last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--play", type=int, metavar="EPISODES", help="per task, played first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    arguments = parser.parse_args(argv)
    if arguments.play is not None:
        status = play(arguments.play, processes=arguments.jobs)
        if status:
            return status
    readme = README.read_text(encoding="utf-8")
    wanted = tables_in(readme)
    if arguments.check:
        print(
            "README.md " + ("says" if wanted == readme else "does NOT say") + " what the files say"
        )
        return int(wanted != readme)
    write_text(README, wanted)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InvalidInputError as problem:
        sys.exit(f"write_readme_tables: {problem}")
