"""A Gymnasium environment around anything that plays episodes: the simulator or a remote server.

>>> env = gymnasium.make("llmserve/Static-v1", action_mode="box")
>>> features, info = env.reset(seed=42)
>>> features, reward, terminated, truncated, info = env.step(env.action_space.sample())
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Protocol, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from llmserve_env.action_encoding import LEVEL_COUNTS, ActionDecoder
from llmserve_env.encoding import FEATURES, FeatureEncoder, Features
from llmserve_env.errors import (
    EpisodeNotStartedError,
    InvalidInputError,
    UnknownRenderModeError,
)
from llmserve_env.models import (
    KNOBS,
    MAX_SEED,
    TIERS,
    QuantizationTier,
    ServeAction,
    ServeObservation,
)
from llmserve_env.tasks import TaskSpec, shipped_catalogue

ACTION_MODES: Final = ("multidiscrete", "box")
RESET_OPTIONS: Final = ("trace_seed", "reward_weights", "episode_id")


class Episodes(Protocol):
    """What plays: ServingEnvironment in this process, or LLMServeEnv.from_url over the wire."""

    def reset(self, **fields: Any) -> Any:
        """The first observation, or a result that has it as `observation`."""

    def step(self, action: Any) -> Any:
        """The observation after a window, or a result that has it as `observation`."""


class LLMServeGymEnv(gymnasium.Env[Features, npt.NDArray[Any]]):
    """One task as a Gymnasium environment.

    Observations are the features of encoding.py, actions the arrays of action_encoding.py. The
    horizon truncates and nothing terminates: a trainer bootstraps from the last value. `info`
    holds the observation's metadata: the reward's terms, at reset the seeds, and with the last
    window facts of the traffic.
    """

    # Windows last a second.
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        episodes: Episodes,
        *,
        task: TaskSpec | str,
        action_mode: str = "multidiscrete",
        render_mode: str | None = None,
        tiers: Collection[QuantizationTier] = TIERS,
    ) -> None:
        """Wrap what plays the episodes; none runs before reset.

        Args:
            episodes: Plays the episodes.
            task: What is played, or the id of a shipped task.
            action_mode: `multidiscrete` (an index per knob) or `box` (six numbers in [-1, 1]).
            render_mode: None or `ansi`.
            tiers: The tiers that the deployment offers.

        Raises:
            InvalidInputError: If the action mode is unknown.
            UnknownRenderModeError: If the render mode is.
            UnknownTaskError: If no shipped task has this id.
        """
        check_choice("action_mode", action_mode, ACTION_MODES)
        modes = (None, *self.metadata["render_modes"])
        if render_mode not in modes:
            choices = ", ".join(map(str, modes))
            raise UnknownRenderModeError(f"unknown render_mode {render_mode!r}; choices: {choices}")
        self.task = shipped_catalogue().get(task) if isinstance(task, str) else task
        self.render_mode = render_mode
        self._episodes = episodes
        self._observation: ServeObservation | None = None
        self._decoder = ActionDecoder(self.task, tiers=tiers)
        self._decode = (
            self._decoder.from_indices if action_mode == "multidiscrete" else self._decoder.from_box
        )
        self._encoder = FeatureEncoder()
        self.observation_space = features_space()
        self.action_space = actions_space(action_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        """Start an episode; without a seed, every episode is another one.

        Args:
            seed: Seed of the episode, and of the seeds that later resets draw.
            options: `trace_seed` (the traffic's own seed), `reward_weights`, `episode_id`.

        Raises:
            InvalidInputError: If an option is unknown or out of range.
        """
        super().reset(seed=seed)
        fields = dict(options or {})
        for name in fields:
            check_choice("reset option", name, RESET_OPTIONS)
        if isinstance(fields.get("trace_seed"), np.integer):
            fields["trace_seed"] = int(fields["trace_seed"])
        episode_seed = int(self.np_random.integers(MAX_SEED)) if seed is None else seed
        features, info = self._start(task_id=self.task.task_id, seed=episode_seed, **fields)
        return features, dict(info)

    def step(self, action: npt.NDArray[Any]) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        """Hold an action for one window.

        Raises:
            InvalidInputError: If the action lies outside the action space.
            EpisodeNotStartedError: Before the first reset.
            EpisodeDoneError: After the last window.
            TierNotOfferedError: If the deployment cannot serve the tier.
        """
        features, reward, done, info = self._play(self._decode(action))
        return features, reward, False, done, dict(info)

    @property
    def observation(self) -> ServeObservation:
        """The last observation, before it was encoded.

        Raises:
            EpisodeNotStartedError: Before the first reset.
        """
        if self._observation is None:
            raise EpisodeNotStartedError
        return self._observation

    def _start(self, **fields: Any) -> tuple[Features, dict[str, Any]]:
        observation = self._observation = observation_of(self._episodes.reset(**fields))
        self._encoder.reset()
        return self._encoder.encode(observation), observation.metadata

    def _play(self, action: ServeAction) -> tuple[Features, float, bool, dict[str, Any]]:
        observation = self._observation = observation_of(self._episodes.step(action))
        reward = cast(float, observation.reward)  # None at reset only
        return self._encoder.encode(observation), reward, observation.done, observation.metadata

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(41,) bool, the levels that a policy may choose, knob after knob; for MaskablePPO."""
        return self._decoder.masks()

    def render(self) -> str | None:
        """The last window in one line, or None if nothing is to be rendered."""
        return describe_window(self.observation, self.task) if self.render_mode else None

    def close(self) -> None:
        """Close what plays the episodes, if it can be closed."""
        close = getattr(self._episodes, "close", None)
        if close is not None:
            close()


def features_space() -> spaces.Box[np.float32]:
    """The observation space of one environment, the same for all tasks."""
    return spaces.Box(0.0, 1.0, (len(FEATURES),), np.float32)


def actions_space(action_mode: str) -> spaces.MultiDiscrete | spaces.Box:
    """The action space of one environment in one of ACTION_MODES, the same for all tasks."""
    if action_mode == "multidiscrete":
        return spaces.MultiDiscrete(list(LEVEL_COUNTS))
    return spaces.Box(-1.0, 1.0, (len(KNOBS),), np.float32)


def describe_window(observation: ServeObservation, task: TaskSpec) -> str:
    """A window in one line: load, memory, latencies, service, reward, and what held it back."""
    parts = (
        f"{task.task_id} {observation.step_index}/{task.windows}",
        f"{observation.request_arrival_rate:.0f} rps, {observation.queue_depth} queued, "
        f"{observation.active_requests} running",
        f"kv {observation.kv_cache_occupancy:.2f} of {observation.config.kv_budget_fraction:.2f}",
        f"p99 ttft {_ms(observation.p99_ttft_ms)}, itl {_ms(observation.p99_itl_ms)}",
        f"{observation.goodput_tps:.0f} of {observation.throughput_tps:.0f} tok/s in time",
        "reward -" if observation.reward is None else f"reward {observation.reward:.3f}",
        f"held by {observation.binding_constraint}",
    )
    return " | ".join(parts)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def observation_of(result: Any) -> ServeObservation:
    """The observation itself: clients answer with a result around it."""
    if isinstance(result, ServeObservation):
        return result
    observation: ServeObservation = result.observation
    return observation


def check_choice(what: str, got: object, choices: Collection[object]) -> None:
    """Refuse what is not among the choices.

    Raises:
        InvalidInputError: Naming what came and the choices.
    """
    if got not in choices:
        raise InvalidInputError(f"unknown {what} {got!r}; choices: {', '.join(map(str, choices))}")
