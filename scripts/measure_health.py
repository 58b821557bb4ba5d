"""How long /health takes while baselines are played and logs are graded.

    uv run python -m scripts.measure_health [--seconds 10] [--write]

`--write` puts the result into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from llmserve_env.tasks import shipped_catalogue
from scripts.local_server import local_server
from scripts.reliability_report import write_section

ASKED_EVERY_S: Final = 0.02
TIMEOUT_S: Final = 300.0
FIRST_SEED: Final = 5_000_000
SETTINGS: Final = {
    "LLMSERVE_EXPENSIVE_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_STEP_REQUESTS_PER_MINUTE": "0",
    "LLMSERVE_BASELINE_TIMEOUT_S": "30",
}
Work = Callable[[httpx.Client, int], object]


def baselines(client: httpx.Client, number: int) -> None:
    """The usual suite on a seed of its own."""
    client.post("/baseline", json={"seed": FIRST_SEED + number})


def planner(client: httpx.Client, number: int) -> None:
    """The slowest agent there is on a task and a seed of its own."""
    task_id = shipped_catalogue().tasks[0].task_id
    client.post(
        "/baseline", json={"agents": ["mpc"], "task_id": task_id, "seed": FIRST_SEED + number}
    )


def grades(client: httpx.Client, number: int) -> None:
    """A whole episode's log, again and again."""
    del number
    client.post("/grader", json={"episode_log": _log(client)})


def _log(client: httpx.Client, known: dict[str, Any] | None = None) -> dict[str, Any]:
    known = _LOGS if known is None else known
    if "log" not in known:
        task = shipped_catalogue().tasks[0]
        session_id = client.post("/reset", json={"seed": 1}).json()["session_id"]
        body = {"action": task.default_action.model_dump(mode="json"), "session_id": session_id}
        for _ in range(task.windows):
            client.post("/step", json=body)
        answer = client.get("/episode_log", params={"session_id": session_id})
        known["log"] = answer.json()
    return dict(known["log"])


_LOGS: dict[str, Any] = {}

WORKS: Final[dict[str, tuple[Work, int]]] = {
    "one client plays baselines": (baselines, 1),
    "four clients play baselines": (baselines, 4),
    "one client lets the planner play": (planner, 1),
    "four clients grade logs": (grades, 4),
}


def waits_ms(url: str, work: Work, clients: int, seconds: float) -> list[float]:
    """Milliseconds of every /health, asked one after the other while so many clients work."""
    stop = threading.Event()

    def keep_working(number: int) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT_S) as client:
            while not stop.is_set():
                work(client, number)
                number += clients

    threads = [threading.Thread(target=keep_working, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    waited: list[float] = []
    deadline_s = time.perf_counter() + seconds
    with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT_S) as client:
        while time.perf_counter() < deadline_s:
            began_s = time.perf_counter()
            client.get("/health").raise_for_status()
            waited.append(1e3 * (time.perf_counter() - began_s))
            time.sleep(ASKED_EVERY_S)
    stop.set()
    for thread in threads:
        thread.join()
    return sorted(waited)


def main(argv: Sequence[str]) -> int:
    """0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of work")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    arguments = parser.parse_args(argv)
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        local_server(Path(folder) / "log", **SETTINGS) as server,
    ):
        for name, (work, clients) in WORKS.items():
            waited = waits_ms(server.url, work, clients, arguments.seconds)
            row = {
                "while": name,
                "asked": len(waited),
                "p50_ms": waited[len(waited) // 2],
                "p99_ms": waited[int(0.99 * len(waited))],
                "max_ms": waited[-1],
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    if arguments.write:
        write_section("health", {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
