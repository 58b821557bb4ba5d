"""Servers under faults: what they still do, compared with the same episode played in process."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.sync.client import ClientConnection, connect

from llmserve_env.tasks import shipped_catalogue
from scripts.fault_tools import FAKETIME, clock_of
from scripts.local_server import LocalServer, local_server
from simulator.environment import ServingEnvironment

WAIT_S: Final = 300.0
STEPS: Final = 40
SEED: Final = 7
# Longer than OpenEnv waits between two looks for idle sessions, at the shortest time to live.
ACROSS_A_LOOK_S: Final = 155.0
READ_ONLY: Final = """
mount -o remount,bind,ro /; mount -t tmpfs -o ro tmpfs /tmp; mount -t tmpfs -o ro tmpfs /var/tmp
exec "$@"
"""
FULL: Final = """
mount -t tmpfs -o size=64k tmpfs /tmp; dd if=/dev/zero of=/tmp/filler bs=4096 2>/dev/null
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A fault that was tried.

    Attributes:
        program: On what.
        fault: Which.
        happened: What happened, with numbers.
        promised: What is promised.
        holds: Whether that is what happened.
    """

    program: str
    fault: str
    happened: str
    promised: str
    holds: bool


def actions() -> list[dict[str, Any]]:
    """Different from window to window."""
    default = shipped_catalogue().tasks[0].default_action.model_dump(mode="json")
    return [default | {"batch_cap": 8 + index} for index in range(STEPS)]


def expected_rewards() -> list[float]:
    """Of these actions, played in this process."""
    environment = ServingEnvironment()
    environment.reset(seed=SEED)
    return [environment.advance(action).reward for action in actions()]


class Visitor:
    """Plays one episode over HTTP and one on /ws, step by step."""

    def __init__(self, server: LocalServer) -> None:
        """Begin both."""
        self.http = httpx.Client(base_url=server.url, trust_env=False, timeout=WAIT_S)
        self.session_id = self._post("/reset", {"seed": SEED})["session_id"]
        self.socket: ClientConnection = connect(server.socket_url, proxy=None)
        self._exchange({"type": "reset", "data": {"seed": SEED}})

    def play(self, chosen: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
        """The rewards over HTTP and on the socket."""
        over_http = [
            self._post("/step", {"action": action, "session_id": self.session_id})["reward"]
            for action in chosen
        ]
        on_socket = [
            self._exchange({"type": "step", "data": action})["reward"] for action in chosen
        ]
        return over_http, on_socket

    def score(self) -> float:
        """Of the episode over HTTP, as far as it was played."""
        return float(self._post("/grader", {"session_id": self.session_id})["score"])

    def close(self) -> None:
        """Leave."""
        self.socket.close()
        self.http.close()

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        return dict(answer.json())

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        self.socket.send(json.dumps(message))
        answer = json.loads(self.socket.recv(timeout=WAIT_S))
        if answer["type"] != "observation":
            raise RuntimeError(str(answer)[:200])
        return dict(answer["data"])


@contextmanager
def visited(server: LocalServer) -> Iterator[Visitor]:
    """A visitor, who leaves at the end."""
    visitor = Visitor(server)
    try:
        yield visitor
    finally:
        visitor.close()


def wrong(played: Sequence[Sequence[float]], rewards: Sequence[float]) -> int:
    """How many rewards are not those of the episode in process."""
    return sum(got != right for row in played for got, right in zip(row, rewards, strict=True))


def without_a_disk() -> Iterator[Row]:
    """No folder can be written to but the shared memory of containers, or /tmp is full."""
    rewards = expected_rewards()
    for fault, script in (
        ("read-only file system, but for /dev/shm", READ_ONLY),
        ("disk full (/tmp)", FULL),
    ):
        wrapper = ("unshare", "-rm", "sh", "-c", script, "sh")
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.monotonic()
            with (
                local_server(Path(folder) / "log", wrapper=wrapper, HOME="/nonexistent") as server,
                visited(server) as visitor,
            ):
                started_s = time.monotonic() - began_s
                bad = wrong(visitor.play(actions()), rewards)
                score = visitor.score()
                page = visitor.http.get("/web/").status_code
        yield Row(
            "server",
            fault,
            f"started in {started_s:.0f} s without a home; {2 * STEPS} steps over HTTP and /ws, "
            f"{bad} rewards wrong; graded {score:.3f}; page {page}",
            "it starts, plays and grades; nothing has to be written",
            bad == 0 and page == httpx.codes.OK,
        )


def killed() -> Iterator[Row]:
    """Kill -9 in the middle of an episode; it goes on on another server."""
    rewards = expected_rewards()
    half = STEPS // 2
    with tempfile.TemporaryDirectory() as folder:
        with local_server(Path(folder) / "first") as server, visited(server) as visitor:
            before, _ = visitor.play(actions()[:half])
            log = visitor.http.get("/episode_log", params={"session_id": visitor.session_id})
            server.process.kill()
        began_s = time.monotonic()
        with local_server(Path(folder) / "second") as server:
            back_s = time.monotonic() - began_s
            with httpx.Client(base_url=server.url, trust_env=False, timeout=WAIT_S) as client:
                began_s = time.perf_counter()
                answer = client.post("/reset", json={"episode_log": log.json()}).json()
                resumed_ms = 1e3 * (time.perf_counter() - began_s)
                name = {"session_id": answer["session_id"]}
                after = [
                    client.post("/step", json={"action": action} | name).json()["reward"]
                    for action in actions()[half:]
                ]
    bad = wrong([before + after], rewards)
    yield Row(
        "server",
        "kill -9",
        f"another answers after {back_s:.0f} s; the log of {half} windows is resumed in "
        f"{resumed_ms:.0f} ms; {bad} of {STEPS} rewards wrong",
        "an episode goes on from its log as if nothing had been",
        bad == 0,
    )


def under_another_clock() -> Iterator[Row]:
    """The clock of the day jumps back and forth while episodes are played."""
    if not FAKETIME.exists():
        return
    rewards = expected_rewards()
    jumps = ("+2d", "-2d", "+1y", "+0")
    part = STEPS // len(jumps)
    with tempfile.TemporaryDirectory() as folder:
        variables, offset = clock_of(Path(folder))
        limits = {"LLMSERVE_SESSION_TTL_S": "600", "LLMSERVE_EXPENSIVE_REQUESTS_PER_MINUTE": "5"}
        with (
            local_server(Path(folder) / "log", **variables, **limits) as server,
            visited(server) as visitor,
        ):
            played: tuple[list[float], list[float]] = ([], [])
            limited = []
            for index, jump in enumerate(jumps):
                offset.write_text(f"{jump}\n")
                if index == 1:
                    time.sleep(ACROSS_A_LOOK_S)
                for so_far, more in zip(
                    played, visitor.play(actions()[index * part : (index + 1) * part]), strict=True
                ):
                    so_far += more
                limited.append(_grades_until_refused(visitor))
            health = visitor.http.get("/health").status_code
    bad = wrong(played, rewards)
    yield Row(
        "server",
        f"clock jumps ({', '.join(jumps[:-1])} and back)",
        f"both episodes go on, {bad} of {2 * STEPS} rewards wrong; grades let through between "
        f"jumps, of 5 a minute: {', '.join(map(str, limited))}; /health {health}",
        "sessions, sockets and time-outs follow a clock that never jumps; a jump may begin a new "
        "minute of a rate limit, and locks nobody out",
        bad == 0 and all(1 <= count <= 5 for count in limited),
    )


def _grades_until_refused(visitor: Visitor) -> int:
    for count in range(20):
        if visitor.http.post("/grader", json={"session_id": "none"}).status_code == 429:
            return count
    return 20
