"""Clients of a soak: players that check what they are told, and four kinds that misbehave."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from llmserve_env.tasks import shipped_catalogue
from scripts.local_server import LocalServer
from simulator.environment import ServingEnvironment

ANSWER_LIMIT_S: Final = 60.0
STEPS: Final = 40
KINDS: Final = 12
THINKING_S: Final = 0.05
# Longer than the time-outs of the server that is soaked.
HOLDING_S: Final = 8.0
CAPS: Final = 512


@dataclass(slots=True)
class Player:
    """One client that plays episode after episode.

    Attributes:
        server: Is played on.
        number: Chooses the episode.
        stop: Ends it all.
        waits_s: Seconds of every step.
        steps: Windows played.
        episodes: Whole ones.
        wrong: Rewards that are not those of the episode played alone.
        errors: In words.
    """

    server: LocalServer
    number: int
    stop: threading.Event
    waits_s: list[float] = field(default_factory=list)
    steps: int = 0
    episodes: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)

    def check(self, window: int, reward: float, began_s: float) -> None:
        """Take an answer to a step, and think."""
        self.waits_s.append(time.perf_counter() - began_s)
        self.steps += 1
        self.wrong += reward != expected(self.number % KINDS)[window]
        self.stop.wait(THINKING_S)


def episode(kind: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Reset and actions of a kind of episode: different for every kind."""
    tasks = shipped_catalogue().tasks
    task = tasks[kind % len(tasks)]
    default = task.default_action.model_dump(mode="json")
    actions = [
        default | {"batch_cap": 1 + (37 * kind + 11 * index) % CAPS} for index in range(STEPS)
    ]
    return {"task_id": task.task_id, "seed": 1000 + kind}, actions


@cache
def expected(kind: int) -> tuple[float, ...]:
    """The rewards of a kind of episode, played alone in this process."""
    environment = ServingEnvironment()
    reset, actions = episode(kind)
    environment.reset(**reset)
    return tuple(environment.advance(action).reward for action in actions)


def play_http(player: Player) -> None:
    """Play over HTTP until told to stop."""
    reset, actions = episode(player.number % KINDS)
    with httpx.Client(
        base_url=player.server.url, trust_env=False, timeout=ANSWER_LIMIT_S
    ) as client:
        while not player.stop.is_set():
            try:
                session_id = _content(client.post("/reset", json=reset))["session_id"]
                for window, action in enumerate(actions):
                    began_s = time.perf_counter()
                    body = {"action": action, "session_id": session_id}
                    answer = _content(client.post("/step", json=body))
                    player.check(window, answer["reward"], began_s)
                client.delete(f"/sessions/{session_id}")
                player.episodes += 1
            except (httpx.HTTPError, RuntimeError) as error:
                player.errors.append(f"http {player.number}: {error!r}"[:200])


def _content(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(f"{response.status_code} {response.text[:150]}")
    return dict(response.json())


def play_socket(player: Player) -> None:
    """Play over /ws, a socket for each episode, until told to stop."""
    reset, actions = episode(player.number % KINDS)
    while not player.stop.is_set():
        try:
            with connect(player.server.socket_url, proxy=None, open_timeout=ANSWER_LIMIT_S) as ws:
                _exchange(ws, {"type": "reset", "data": reset})
                for window, action in enumerate(actions):
                    began_s = time.perf_counter()
                    answer = _exchange(ws, {"type": "step", "data": action})
                    player.check(window, answer["reward"], began_s)
                player.episodes += 1
        except (OSError, WebSocketException, RuntimeError) as error:
            player.errors.append(f"ws {player.number}: {error!r}"[:200])


def _exchange(ws: Any, message: dict[str, Any]) -> dict[str, Any]:
    ws.send(json.dumps(message))
    answer = json.loads(ws.recv(timeout=ANSWER_LIMIT_S))
    if answer["type"] != "observation":
        raise RuntimeError(str(answer)[:150])
    return dict(answer["data"])


def slow_reader(server: LocalServer) -> None:
    """Asks for much with a small window and reads none of it for longer than the server waits."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(server.address)
        with suppress(OSError):  # cut off, as it should be
            connection.sendall(b"GET /tasks HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        time.sleep(HOLDING_S)


def half_request(server: LocalServer) -> None:
    """Announces a body and sends a part of it; waits, then is gone."""
    _half_request(server, HOLDING_S)


def aborted_request(server: LocalServer) -> None:
    """The same, and is gone at once."""
    _half_request(server, THINKING_S)


def _half_request(server: LocalServer, seconds: float) -> None:
    with socket.create_connection(server.address) as connection:
        connection.sendall(b"POST /step HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        time.sleep(seconds)


def half_closed(server: LocalServer) -> None:
    """Closes its sending half after a request, and reads the answer."""
    with socket.create_connection(server.address, timeout=ANSWER_LIMIT_S) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)


def vanishing(server: LocalServer) -> None:
    """Begins an episode on /ws and resets the connection in the middle of a step."""
    reset, actions = episode(0)
    with (
        suppress(OSError, WebSocketException),  # there is nobody to say farewell to
        connect(server.socket_url, proxy=None, open_timeout=ANSWER_LIMIT_S) as ws,
    ):
        _exchange(ws, {"type": "reset", "data": reset})
        ws.send(json.dumps({"type": "step", "data": actions[0]}))
        # A linger of 0 sends a reset in place of a farewell.
        ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.socket.close()


BAD_CLIENTS: Final[tuple[Callable[[LocalServer], None], ...]] = (
    slow_reader,
    half_request,
    aborted_request,
    half_closed,
    vanishing,
)
