"""The agents that look at nothing: random, vLLM's defaults, one action throughout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.knobs import KnobMenu, Setting
from agents.tuned_files import constant_for
from llmserve_env.errors import TierNotOfferedError
from llmserve_env.models import KNOBS, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import build_deployment
from simulator.environment import parse_record
from simulator.rng import stream


class RandomAgent:
    """Draws every knob anew each window, uniformly from the levels that the task allows."""

    def reset(self, task: TaskSpec, seed: int) -> None:
        """Start the agent's own stream of random numbers."""
        self._menu = KnobMenu(task)
        self._levels = [self._menu.levels(knob) for knob in KNOBS]
        self._rng = stream(seed, "agents/random")

    def act(self, observation: ServeObservation) -> ServeAction:  # noqa: ARG002
        """Another random action."""
        draws = self._rng.random(len(KNOBS)).tolist()
        return self._menu.action(
            Setting(
                *(
                    levels[int(draw * len(levels))]
                    for levels, draw in zip(self._levels, draws, strict=True)
                )
            )
        )


class ConstantAgent:
    """Holds one action throughout; knobs that were left out keep the task's default."""

    def __init__(self, knobs: ServeAction | Mapping[str, Any] | None = None) -> None:
        """Take the action, all of it or some knobs; it is checked against the task at reset."""
        if isinstance(knobs, ServeAction):
            knobs = knobs.model_dump()
        self._knobs = dict(knobs or {})

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Build the action for this task.

        Raises:
            InvalidInputError: If a knob is unknown, ill-typed or out of range.
            InactiveActionError: If the action moves a knob that the task holds fixed.
            TierNotOfferedError: If the deployment cannot serve the tier.
        """
        self._action = parse_record(ServeAction, task.default_action.model_dump() | self._knobs)
        task.check_action(self._action)
        deployment, tier = build_deployment(task), self._action.quantization_tier
        if tier not in deployment.tiers:
            raise TierNotOfferedError(deployment.profile.name, tier, deployment.tiers)

    def act(self, observation: ServeObservation) -> ServeAction:  # noqa: ARG002
        """The same action again."""
        return self._action


class BestConstantAgent:
    """Holds the constant that scripts/search_constants.py found best for the task."""

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Look the task's action up.

        Raises:
            InvalidInputError: If none was searched for under this environment version.
        """
        self._action = constant_for(task, shipped_catalogue().environment_version)

    def act(self, observation: ServeObservation) -> ServeAction:  # noqa: ARG002
        """The same action again."""
        return self._action
