"""What an agent is: something that turns observations into actions, one window at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.environment import ServingEnvironment


class Agent(Protocol):
    """A policy. One object plays one episode at a time and any number in turn."""

    def reset(self, task: TaskSpec, seed: int) -> None:
        """Forget everything and get ready for an episode of this task.

        Args:
            task: What is played; a policy may read all of it, the traffic's seed is not in it.
            seed: For the agent's own random numbers; says nothing about the traffic.
        """

    def act(self, observation: ServeObservation) -> ServeAction:
        """The action for the next window, given what was seen after the last one."""


@runtime_checkable
class Clairvoyant(Protocol):
    """An agent that is shown the environment itself, its future included: a bound, not a rival."""

    def watch(self, environment: ServingEnvironment) -> None:
        """See the environment, right after its reset; only clones of it may be stepped."""


@runtime_checkable
class Accountable(Protocol):
    """An agent whose actions cost something, or may not be its own."""

    def account(self) -> dict[str, float]:
        """What the last episode took, by name.

        Raises:
            LanguageModelError: If no action was the agent's own: then neither is the score.
        """


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """One agent of the registry.

    Attributes:
        name: As `--agent` and the wire know it.
        description: One sentence for people.
        make: A new agent, ready for its first reset.
        sees_future: Whether it is shown the episode's traffic in advance.
        is_deterministic: Whether its actions follow from the observations alone.
    """

    name: str
    description: str
    make: Callable[[], Agent]
    sees_future: bool = False
    is_deterministic: bool = True
