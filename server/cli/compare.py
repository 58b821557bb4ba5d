"""`llmserve compare`: several agents on the same traffic, in one table."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Final

import typer
from rich.text import Text

from grader.grading import scale_of
from grader.references import shipped_references
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import MAX_SEED
from llmserve_env.tasks import shipped_catalogue
from server.cli.contests import FIRST_TEST_SEED, contest
from server.cli.conventions import AsJson, OnProfile, ServerUrl, served_on, write_json
from server.cli.remote import episodes_at
from server.cli.screens import progress_bar, screen
from server.cli.tables import fidelity_lines, scale_line, standings_table
from simulator.validity import fidelity_line

USUAL: Final = ("vllm_default", "heuristic", "best_constant", "reactive", "kv_rule", "ppo")
MAX_EPISODES: Final = 1_000

Names = Annotated[
    list[str] | None, typer.Argument(help=f"As `llmserve agents` lists; {', '.join(USUAL)}.")
]


def compare(
    agents: Names = None,
    task: Annotated[str, typer.Option(help="Task or variant.")] = "bursty_workload",
    seed: Annotated[int, typer.Option(help="The first seed.")] = FIRST_TEST_SEED,
    episodes: Annotated[int, typer.Option(help="Seeds, one after the other.")] = 1,
    profile: OnProfile = None,
    url: ServerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let several agents play the same traffic and show how each did, the best first."""
    names = list(dict.fromkeys(agents or USUAL))
    spec = shipped_catalogue().get(served_on(task, profile))
    seeds = consecutive(seed, episodes)
    place = nullcontext() if url is None else episodes_at(url)
    with (
        place as played_in,
        progress_bar("episodes", len(names) * len(seeds)) as advance,
    ):
        standings = contest(names, spec, seeds, episodes=played_in, on_episode=advance)
    if as_json:
        write_json(
            {
                "environment_version": shipped_catalogue().environment_version,
                "task_id": spec.task_id,
                "seeds": seeds,
                "scale": None if spec.variant_of else scale_of(shipped_references()),
                "fidelity": fidelity_line(spec.deployment.profile),
                "agents": [row.as_json() for row in standings],
            }
        )
        return
    shown = screen()
    shown.print(standings_table(spec, seeds, standings))
    shown.print(scale_line(spec), highlight=False)
    for line in fidelity_lines(spec, standings):
        shown.print(Text(line))


def consecutive(first: int, count: int) -> list[int]:
    """So many seeds from the first on.

    Raises:
        InvalidInputError: If there are none, too many, or one is out of range.
    """
    if not 1 <= count <= MAX_EPISODES:
        raise InvalidInputError(f"--episodes must be 1 to {MAX_EPISODES}, got {count}")
    if not 0 <= first <= MAX_SEED - count + 1:
        raise InvalidInputError(f"--seed must be 0 to {MAX_SEED - count + 1}, got {first}")
    return list(range(first, first + count))
