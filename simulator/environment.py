"""One episode at a time: reset, step, state, log. What every front end plays."""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from pydantic import ValidationError

from llmserve_env.encoding import RAW_NAMES, WINDOW_FEATURES, Features
from llmserve_env.errors import EpisodeDoneError, EpisodeNotStartedError, InvalidInputError
from llmserve_env.models import (
    MAX_SEED,
    EpisodeLog,
    EpisodeStep,
    MetricsSnapshot,
    ResetOptions,
    ServeAction,
    ServeObservation,
    ServeState,
)
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from simulator.kernel_features import RAW, encode_rows, raw_rows
from simulator.load import offered_load
from simulator.metrics import snapshot
from simulator.observation import empty_metrics, observe
from simulator.outcome import METRICS
from simulator.reward import override_weights, reward_terms, weight_row
from simulator.trace_simulator import TraceSimulator
from simulator.workload_facts import describe

Record = TypeVar("Record", ServeAction, ResetOptions)


@dataclass(slots=True)
class _Episode:
    """The episode being played; owned by ServingEnvironment alone."""

    task: TaskSpec
    episode_id: str
    seed: int
    trace_seed: int
    reward_weights: dict[str, float]
    config: ServeAction
    metadata: dict[str, Any]
    reward: float | None = None
    # What was measured is kept as the bytes of a METRICS record: the cheapest copy there is.
    steps: list[tuple[ServeAction, float, bytes]] = field(default_factory=list)
    total_reward: float = 0.0

    @property
    def is_done(self) -> bool:
        return len(self.steps) >= self.task.windows


class Outcome(NamedTuple):
    """What a window brought, short of the observation.

    Attributes:
        reward: In [-1, 1].
        done: Whether it was the last window.
        metadata: The reward's terms by name; with the last window facts of the traffic.
    """

    reward: float
    done: bool
    metadata: dict[str, Any]


class ServingEnvironment:
    """An LLM serving deployment to control, one window per step."""

    def __init__(
        self, catalogue: Catalogue | None = None, *, simulator: TraceSimulator | None = None
    ) -> None:
        """Take the shipped tasks and a simulator unless others are given; no episode runs yet."""
        self.catalogue = shipped_catalogue() if catalogue is None else catalogue
        self._simulator = TraceSimulator() if simulator is None else simulator
        self._episode: _Episode | None = None

    def reset(self, options: ResetOptions | None = None, **fields: Any) -> ServeObservation:
        """Start an episode and return what is known before its first window.

        Args:
            options: What to play; built from `fields` (task_id, seed, trace_seed, episode_id,
                reward_weights) if left out.
            **fields: Fields of ResetOptions.

        Raises:
            InvalidInputError: If a field is unknown, ill-typed or out of range.
            UnknownTaskError: If no task has this id.
        """
        chosen = options if options is not None else parse_record(ResetOptions, fields)
        task = self.catalogue.get(chosen.task_id)
        weights = override_weights(task.reward, chosen.reward_weights)
        seed = secrets.randbelow(MAX_SEED) if chosen.seed is None else chosen.seed
        trace_seed = seed if chosen.trace_seed is None else chosen.trace_seed
        self._simulator.reset(task, seed, trace_seed=trace_seed)
        task = self._simulator.task  # a real server plays what it can of the task
        self._simulator.set_reward_weights(weight_row(weights))
        engine = self._simulator.engine
        engine.state.metrics[:] = empty_metrics(engine.deployment, task.default_action)
        episode_id = chosen.episode_id or str(uuid.uuid4())
        self._episode = _Episode(
            task=task,
            episode_id=episode_id,
            seed=seed,
            trace_seed=trace_seed,
            reward_weights=dict(chosen.reward_weights),
            config=task.default_action,
            metadata={"episode_id": episode_id, "seed": seed, "trace_seed": trace_seed},
        )
        return self.observation

    def step(self, action: ServeAction | Mapping[str, Any]) -> ServeObservation:
        """Hold an action for one window and return what came of it, reward and done included.

        Raises as `advance` does.
        """
        self.advance(action)
        return self.observation

    def advance(self, action: ServeAction | Mapping[str, Any]) -> Outcome:
        """Hold an action for one window; the observation is made when it is asked for.

        Raises:
            EpisodeNotStartedError: Before the first reset.
            EpisodeDoneError: After the last window.
            InvalidInputError: If a knob is missing, unknown, ill-typed or out of range.
            InactiveActionError: If the action moves a knob that the task holds fixed.
            TierNotOfferedError: If the deployment cannot serve the tier.
        """
        episode = self._running_episode()
        if episode.is_done:
            raise EpisodeDoneError(episode.task.windows)
        if not isinstance(action, ServeAction):
            action = parse_record(ServeAction, action)
        if action is not episode.config:  # what is in force was checked when it came
            episode.task.check_action(action)
        self._simulator.advance(action)
        state = self._simulator.engine.state
        terms = reward_terms(state.rewards[0])
        reward = terms.pop("reward")
        episode.config, episode.reward = action, reward
        episode.steps.append((action, reward, state.metrics.tobytes()))
        episode.total_reward += reward
        episode.metadata = {"reward_terms": terms}
        done = episode.is_done
        if done:
            episode.metadata["episode_facts"] = self._facts(episode)
        return Outcome(reward, done, episode.metadata)

    @property
    def observation(self) -> ServeObservation:
        """What is known now.

        Raises:
            EpisodeNotStartedError: Before the first reset.
        """
        episode = self._running_episode()
        return observe(
            self._measured(),
            task_id=episode.task.task_id,
            step_index=len(episode.steps),
            config=episode.config,
            reward=episode.reward,
            done=episode.is_done,
            metadata=episode.metadata,
        )

    def features(self) -> Features:
        """The observation as encoding.encode_window encodes it, without making the observation.

        Raises:
            EpisodeNotStartedError: Before the first reset.
        """
        state = self._simulator.engine.state
        raw = np.empty((1, len(RAW_NAMES)))
        features = np.empty(len(WINDOW_FEATURES), np.float32)
        raw_rows(state.environments, state.metrics, raw.view(RAW)[:, 0])
        encode_rows(raw, features[None, :])
        return features

    @property
    def state(self) -> ServeState:
        """Where the episode stands; empty before the first reset."""
        episode, version = self._episode, self.catalogue.environment_version
        if episode is None:
            return ServeState(
                episode_id=None,
                step_count=0,
                task_id=None,
                seed=None,
                trace_seed=None,
                environment_version=version,
                done=False,
                total_reward=0.0,
                config=None,
                metrics=None,
            )
        return ServeState(
            episode_id=episode.episode_id,
            step_count=len(episode.steps),
            task_id=episode.task.task_id,
            seed=episode.seed,
            trace_seed=episode.trace_seed,
            environment_version=version,
            done=episode.is_done,
            total_reward=episode.total_reward,
            config=episode.config,
            metrics=self._metrics(),
        )

    @property
    def simulator(self) -> TraceSimulator:
        """The simulator behind the episode: requests, per-request results, engine state."""
        return self._simulator

    def log(self) -> EpisodeLog:
        """The episode so far: enough to replay it and to compare.

        Raises:
            EpisodeNotStartedError: Before the first reset.
        """
        episode = self._running_episode()
        return EpisodeLog(
            environment_version=self.catalogue.environment_version,
            task_id=episode.task.task_id,
            seed=episode.seed,
            trace_seed=episode.trace_seed,
            reward_weights=episode.reward_weights,
            steps=tuple(
                EpisodeStep(action=action, reward=reward, metrics=_read_metrics(measured))
                for action, reward, measured in episode.steps
            ),
        )

    def clone(self) -> Self:
        """An independent copy of the episode: stepping it leaves this one where it is."""
        twin = object.__new__(type(self))
        twin.catalogue, twin._simulator = self.catalogue, self._simulator.clone()
        twin._episode = copy.copy(self._episode)
        if twin._episode is not None:
            twin._episode.steps = list(twin._episode.steps)
        return twin

    def _metrics(self) -> MetricsSnapshot:
        return MetricsSnapshot(**self._measured())

    def _measured(self) -> dict[str, Any]:
        return snapshot(self._simulator.engine.state.metrics[0])

    def _running_episode(self) -> _Episode:
        if self._episode is None:
            raise EpisodeNotStartedError
        return self._episode

    def _facts(self, episode: _Episode) -> dict[str, Any]:
        """The episode's traffic, told when it is over: before that it would give the load away."""
        horizon_s = episode.task.windows * episode.task.window_s
        requests = self._simulator.requests
        load = offered_load(requests, self._simulator.engine.deployment, horizon_s=horizon_s)
        facts = asdict(describe(requests, horizon_s=horizon_s))
        return facts | {"rho_mean": load.mean, "rho_peak_10s": load.peak}


def _read_metrics(measured: bytes) -> MetricsSnapshot:
    return MetricsSnapshot(**snapshot(np.frombuffer(measured, METRICS)[0]))


def parse_record(model: type[Record], fields: Mapping[str, Any]) -> Record:
    """The fields as a record of this model.

    Raises:
        InvalidInputError: Naming every field that is wrong, what came and what would be right.
    """
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or model.__name__}: {problem['msg']}, "
            f"got {problem['input']!r:.80}"
            for problem in error.errors()
        ]
        raise InvalidInputError("; ".join(problems)) from error
