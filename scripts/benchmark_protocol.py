"""Steps a second over HTTP and /ws, beside a bare OpenEnv echo environment in the same run.

    uv run python -m scripts.benchmark_protocol [--rounds 5] [--seconds 3] [--write]

The two servers take turns, round by round. `--write` puts the result into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from llmserve_env.tasks import shipped_catalogue
from scripts.local_server import LocalServer, local_server
from scripts.protocol_load import Load, Play, measure
from scripts.reliability_report import write_section

ECHO_PROGRAM: Final = ("-m", "scripts.echo_environment")
WINDOWS: Final = 200
# What is measured is the protocol: one client alone would be over any limit.
SETTINGS: Final = {
    "LLMSERVE_STEP_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_RESET_REQUESTS_PER_MINUTE": "0",
}


def compare(
    ours: LocalServer, echo: LocalServer, *, over: str, clients: int, rounds: int, seconds: float
) -> dict[str, Any]:
    """Medians over the rounds; `ratio` is the median of the rounds' own ratios."""
    task = shipped_catalogue().tasks[0]
    plays = (
        (
            ours,
            Play(
                {"task_id": task.task_id, "seed": 3},
                task.default_action.model_dump(mode="json"),
                min(WINDOWS, task.windows),
            ),
        ),
        (echo, Play({}, {"message": "hello"}, WINDOWS)),
    )
    loads: list[list[Load]] = [
        [
            measure(server, play, over=over, clients=clients, seconds=seconds)
            for server, play in plays
        ]
        for _ in range(rounds)
    ]
    rates = [[load.steps / load.seconds for load in pair] for pair in loads]
    costs = [[1e6 * load.cpu_s / max(load.steps, 1) for load in pair] for pair in loads]
    return {
        "over": over,
        "clients": clients,
        "ours_per_s": median(pair[0] for pair in rates),
        "echo_per_s": median(pair[1] for pair in rates),
        "ratio": median(pair[0] / pair[1] for pair in rates),
        "ours_cpu_us": median(pair[0] for pair in costs),
        "echo_cpu_us": median(pair[1] for pair in costs),
    }


def main(argv: Sequence[str]) -> int:
    """0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round, for each server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    arguments = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as folder,
        local_server(Path(folder) / "ours", **SETTINGS) as ours,
        local_server(Path(folder) / "echo", ECHO_PROGRAM) as echo,
    ):
        rows = []
        for over in ("http", "ws"):
            for clients in arguments.clients:
                row = compare(
                    ours,
                    echo,
                    over=over,
                    clients=clients,
                    rounds=arguments.rounds,
                    seconds=arguments.seconds,
                )
                print(json.dumps(row), flush=True)
                rows.append(row)
    if arguments.write:
        write_section("protocol", {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
