"""Replaces a server by another on the same port while clients play; what do they see?

    uv run python -m scripts.try_upgrade [--clients 32] [--write]

Half of the clients play over HTTP and half on /ws, each with an episode whose rewards are known.
The first server gets SIGTERM, the second is started as soon as it has ended. Exit status 1 if a
client sees anything that docs/operations.md does not name, or a reward of another episode.
`--write` puts the result into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from scripts.local_server import STOP_LIMIT_S, free_port, local_server
from scripts.reliability_report import write_section
from scripts.upgrade_clients import Upgraded, on_socket, over_http

# By every client: before the first server is told to stop, and whole episodes on the second.
STEPS_BEFORE: Final = 15
EPISODES_AFTER: Final = 3
LIMIT_S: Final = 900.0
DOCUMENTED: Final = frozenset(
    {
        "socket closed with 1012",
        "503 SHUTTING_DOWN",
        "503 at the handshake",
        "closed without an answer",
        "connection refused",
    }
)


def upgrade(clients: int) -> dict[str, Any]:
    """What happened, in figures."""
    port, stop = free_port(), threading.Event()
    url = f"http://127.0.0.1:{port}"
    players = [Upgraded(url, number, stop) for number in range(clients)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(clients) as pool:
        with local_server(Path(folder) / "first", PORT=str(port)) as first:
            playing = [
                pool.submit((over_http, on_socket)[player.number % 2], player) for player in players
            ]
            _wait(lambda: all(player.steps >= STEPS_BEFORE for player in players))
            before = sum(player.steps for player in players)
            told_s = time.monotonic()
            first.process.terminate()
            first.process.wait(timeout=STOP_LIMIT_S)
            ended_s = time.monotonic() - told_s
            status = first.process.returncode
        with local_server(Path(folder) / "second", PORT=str(port)) as second:
            away_s = time.monotonic() - told_s
            _wait(lambda: all(player.episodes >= EPISODES_AFTER for player in players))
            stop.set()
            for each in playing:
                each.result()
            logs = [server.log_path.read_text(errors="replace") for server in (first, second)]
    tracebacks = sum(log.count("Traceback") for log in logs)
    if tracebacks:
        print(*logs, sep="\n---\n", file=sys.stderr)
    saw = sum((player.saw for player in players), Counter[str]())
    return {
        "clients": clients,
        "steps_before": before,
        "steps_after": sum(player.steps for player in players) - before,
        "first_server_ended_after_s": round(ended_s, 2),
        "its_exit_status": status,
        "nobody_answered_for_s": round(away_s, 1),
        "whole_episodes": sum(player.episodes for player in players),
        "of_them_resumed_from_their_log": sum(player.resumed for player in players),
        "rewards_of_another_episode": sum(player.wrong for player in players),
        "tracebacks_in_the_logs": tracebacks,
        "seen_by_clients": dict(sorted(saw.items())),
    }


def _wait(is_reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not is_reached() and time.monotonic() < deadline_s:
        time.sleep(0.05)


def main(argv: Sequence[str]) -> int:
    """0 if clients saw only what is documented, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    arguments = parser.parse_args(argv)
    result = upgrade(arguments.clients)
    print(json.dumps(result, indent=1))
    if arguments.write:
        write_section("upgrade", result)
    surprises = set(result["seen_by_clients"]) - DOCUMENTED
    bad = any(
        result[name]
        for name in ("rewards_of_another_episode", "tracebacks_in_the_logs", "its_exit_status")
    )
    return int(bool(surprises or bad or not result["of_them_resumed_from_their_log"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
