"""A bare OpenEnv environment that echoes: what the protocol itself costs, to compare with.

    PORT=8001 python -m scripts.echo_environment

Everything is as OpenEnv's own `create_app` makes it; uvicorn runs with its defaults.
"""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class EchoAction(Action):
    """A message."""

    message: str


class EchoObservation(Observation):
    """The same message."""

    echoed: str = ""


class EchoEnvironment(Environment[EchoAction, EchoObservation, State]):
    """Answers every message with itself."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id=None, step_count=0)

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **_: Any
    ) -> EchoObservation:
        """An empty message."""
        del seed
        self._state = State(episode_id=episode_id, step_count=0)
        return EchoObservation(done=False, reward=0.0)

    def step(self, action: EchoAction, timeout_s: float | None = None, **_: Any) -> EchoObservation:
        """The message."""
        del timeout_s
        self._state.step_count += 1
        return EchoObservation(echoed=action.message, done=False, reward=1.0)

    @property
    def state(self) -> State:
        """How many messages there were."""
        return self._state


def echo_app() -> FastAPI:
    """OpenEnv's application around the echo."""
    return create_app(
        EchoEnvironment, EchoAction, EchoObservation, env_name="echo", max_concurrent_envs=64
    )


if __name__ == "__main__":
    uvicorn.run(echo_app(), host="127.0.0.1", port=int(os.environ["PORT"]))
