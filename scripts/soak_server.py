"""Many clients for minutes, some of them bad: does memory grow, does anybody get another's answers?

    uv run python -m scripts.soak_server [--sessions 128] [--minutes 10] [--write]

Half of the sessions play over HTTP and half over /ws; every answer is compared with the same
episode played alone. Beside them: clients that do not read, that send half a request, that close
one half of their connection, and that vanish in the middle of an episode. Exit status 1 on
cross-talk, on an error of the server, or if its memory grows by more than 5 % after the first
third. `--write` puts the result into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.local_server import LocalServer, local_server
from scripts.reliability_report import write_section
from scripts.soak_clients import BAD_CLIENTS, Player, play_http, play_socket

ALLOWED_GROWTH: Final = 0.05
WATCHED_EVERY_S: Final = 1.0
BAD_EVERY_S: Final = 0.2
BAD_AT_ONCE: Final = 24
SETTLED_SHARE: Final = 1 / 3


@dataclass(slots=True)
class Watch:
    """What the server process looked like, and what clients saw.

    Attributes:
        memory_mb: One value a second.
        open_files: The same.
        waits_s: Of every step over HTTP.
        steps: Over HTTP and /ws.
        episodes: Whole ones.
        wrong: Answers that are not those of the episode played alone.
        errors: In words.
    """

    memory_mb: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    steps: int = 0
    episodes: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)

    def take(self, player: Player) -> None:
        """Add what a player saw."""
        self.waits_s += player.waits_s
        self.steps += player.steps
        self.episodes += player.episodes
        self.wrong += player.wrong
        self.errors += player.errors


def soak(server: LocalServer, sessions: int, seconds: float) -> Watch:
    """Play and misbehave for so long."""
    watch, stop = Watch(), threading.Event()
    players = [Player(server, number, stop) for number in range(sessions)]
    plays = (play_http, play_socket)
    with ThreadPoolExecutor(sessions + 1) as pool:
        playing = [pool.submit(plays[player.number % 2], player) for player in players]
        bad = pool.submit(_misbehave, server, stop)
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and server.process.is_running():
            time.sleep(WATCHED_EVERY_S)
            watch.memory_mb.append(server.memory_mb())
            watch.open_files.append(server.open_files())
        stop.set()
        for future in playing:
            future.result()
        bad.result()
    for player in players:
        watch.take(player)
    return watch


def _misbehave(server: LocalServer, stop: threading.Event) -> None:
    number = 0
    with ThreadPoolExecutor(BAD_AT_ONCE) as pool:
        running: list[Future[None]] = []
        while not stop.wait(BAD_EVERY_S):
            running = [each for each in running if not each.done() or each.result()]
            if len(running) < BAD_AT_ONCE:
                running.append(pool.submit(BAD_CLIENTS[number % len(BAD_CLIENTS)], server))
                number += 1


def growth(memory_mb: Sequence[float]) -> float:
    """Growth from the first half of what is settled to the second, as a share of the first."""
    settled = memory_mb[int(SETTLED_SHARE * len(memory_mb)) :]
    half = len(settled) // 2
    if half == 0:
        return 0.0
    first = sum(settled[:half]) / half
    return sum(settled[half:]) / (len(settled) - half) / first - 1.0


def figures(watch: Watch, sessions: int, seconds: float) -> dict[str, Any]:
    """What the report says."""
    waits = sorted(watch.waits_s)
    return {
        "sessions": sessions,
        "seconds": seconds,
        "steps": watch.steps,
        "whole_episodes": watch.episodes,
        "answers_of_another_episode": watch.wrong,
        "errors": len(watch.errors),
        "step_p50_ms": round(1e3 * waits[len(waits) // 2], 1) if waits else None,
        "step_p99_ms": round(1e3 * waits[int(0.99 * len(waits))], 1) if waits else None,
        "memory_mb_first_and_last": f"{watch.memory_mb[0]:.0f}, {watch.memory_mb[-1]:.0f}",
        "memory_growth_after_first_third": f"{100 * growth(watch.memory_mb):.1f} %",
        "open_files_most": max(watch.open_files),
    }


def main(argv: Sequence[str]) -> int:
    """0 if all was well, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=128)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    arguments = parser.parse_args(argv)
    places = str(2 * arguments.sessions)
    with (
        tempfile.TemporaryDirectory() as folder,
        local_server(
            Path(folder) / "log",
            LLMSERVE_MAX_SESSIONS=places,
            LLMSERVE_MAX_SESSIONS_PER_CLIENT=places,
            LLMSERVE_STEP_REQUESTS_PER_MINUTE="0",
            LLMSERVE_RESET_REQUESTS_PER_MINUTE="0",
            LLMSERVE_REQUEST_TIMEOUT_S="5",
            LLMSERVE_LOG_LEVEL="warning",
        ) as server,
    ):
        watch = soak(server, arguments.sessions, 60.0 * arguments.minutes)
        told = figures(watch, arguments.sessions, 60.0 * arguments.minutes)
        told["tracebacks_in_the_log"] = server.log_path.read_text(errors="replace").count(
            "Traceback"
        )
    result = {"figures": told, "first_errors": watch.errors[:10]}
    print(json.dumps(result, indent=1))
    if arguments.write:
        write_section("soak", result)
    grew = growth(watch.memory_mb) > ALLOWED_GROWTH
    return int(bool(watch.wrong or watch.errors or told["tracebacks_in_the_log"] or grew))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
