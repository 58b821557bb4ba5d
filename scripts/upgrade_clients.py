"""Clients that keep the log of what they play, and go on with it when their server is replaced."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import connect

from llmserve_env.models import MetricsSnapshot
from llmserve_env.tasks import shipped_catalogue
from scripts.soak_clients import KINDS, episode, expected

ANSWER_LIMIT_S: Final = 60.0
THINKING_S: Final = 0.05
AGAIN_S: Final = 0.2
MEASURED: Final = tuple(MetricsSnapshot.model_fields)


@dataclass(slots=True)
class Upgraded:
    """What a client saw, and the episode that it plays.

    Attributes:
        url: Where the servers are, one after the other.
        number: Chooses the episode.
        stop: Ends it all.
        saw: Close codes, statuses and errors, each with how often.
        steps: Windows played.
        episodes: Whole ones.
        resumed: Of them, those that went on from their log.
        wrong: Rewards that are not those of the episode played alone.
    """

    url: str
    number: int
    stop: threading.Event
    saw: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    episodes: int = 0
    resumed: int = 0
    wrong: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def start(self) -> dict[str, Any]:
        """How the episode begins, or goes on."""
        reset, _ = episode(self.number % KINDS)
        if not self.log:
            return reset
        told = {
            "environment_version": shipped_catalogue().environment_version,
            "task_id": reset["task_id"],
            "seed": reset["seed"],
            "trace_seed": reset["seed"],
            "reward_weights": {},
            "steps": self.log,
        }
        return {"episode_log": told}

    def play(self, begin: Callable[[dict[str, Any]], object], step: Any) -> None:
        """Play the episode to its end, from where its log stops."""
        _, actions = episode(self.number % KINDS)
        rewards = expected(self.number % KINDS)
        goes_on = bool(self.log)
        begin(self.start)
        for action in actions[len(self.log) :]:
            answer = step(action)
            self.wrong += answer["reward"] != rewards[len(self.log)]
            metrics = {name: answer["observation"][name] for name in MEASURED}
            self.log.append({"action": action, "reward": answer["reward"], "metrics": metrics})
            self.steps += 1
            self.stop.wait(THINKING_S)
        self.log.clear()
        self.episodes += 1
        self.resumed += goes_on


def over_http(client: Upgraded) -> None:
    """Play over HTTP until told to stop."""
    with httpx.Client(base_url=client.url, trust_env=False, timeout=ANSWER_LIMIT_S) as http:
        while not client.stop.is_set():
            session = HttpSession(http)
            try:
                client.play(session.start, session.step)
                session.close()
            except RuntimeError as refused:
                client.saw[str(refused)] += 1
                client.stop.wait(AGAIN_S)
            except httpx.HTTPError as error:
                client.saw[_named(error)] += 1
                client.stop.wait(AGAIN_S)


@dataclass(slots=True)
class HttpSession:
    """A session over HTTP.

    Attributes:
        http: Reaches the server.
        name: The session, once there is one.
    """

    http: httpx.Client
    name: dict[str, str] = field(default_factory=dict)

    def start(self, body: dict[str, Any]) -> None:
        """Begin an episode, or go on with one."""
        self.name = {"session_id": self._post("/reset", body)["session_id"]}

    def step(self, action: dict[str, Any]) -> dict[str, Any]:
        """Play a window."""
        return self._post("/step", {"action": action})

    def close(self) -> None:
        """Give the place back."""
        self.http.delete(f"/sessions/{self.name['session_id']}")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=body | self.name)
        if answer.is_error:
            raise RuntimeError(f"{answer.status_code} {answer.json()['error']['code']}")
        return dict(answer.json())


def on_socket(client: Upgraded) -> None:
    """Play on /ws until told to stop."""
    url = client.url.replace("http", "ws", 1) + "/ws"
    while not client.stop.is_set():
        try:
            with connect(url, proxy=None, open_timeout=ANSWER_LIMIT_S) as socket:

                def exchange(kind: str, data: dict[str, Any]) -> dict[str, Any]:
                    socket.send(json.dumps({"type": kind, "data": data}))
                    answer = json.loads(socket.recv(timeout=ANSWER_LIMIT_S))
                    if answer["type"] != "observation":
                        raise RuntimeError(f"error {answer['data'].get('code')}")
                    return dict(answer["data"])

                client.play(
                    lambda start: exchange("reset", start),
                    lambda action: exchange("step", action),
                )
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            client.saw[f"socket closed with {code}"] += 1
        except (OSError, RuntimeError, WebSocketException) as error:
            client.saw[_named(error)] += 1
            client.stop.wait(AGAIN_S)


def _named(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError | ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, InvalidStatus):
        return f"{error.response.status_code} at the handshake"
    if isinstance(error, httpx.RemoteProtocolError | ConnectionResetError | InvalidMessage):
        return "closed without an answer"
    return f"{type(error).__name__}: {error}"[:80]
