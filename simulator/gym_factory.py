"""What `gymnasium.make` and `make_vec` call: environments simulated in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmserve_env.encoding import FeatureEncoder, Features
from llmserve_env.errors import InvalidInputError
from llmserve_env.gym_env import LLMServeGymEnv
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from llmserve_env.traces import TRACE_PREFIX, TraceOptions, trace_file, trace_options
from simulator.deployment import build_deployment
from simulator.environment import ServingEnvironment
from simulator.vector_engine import compiled_trends
from simulator.vector_env import ServingVectorEnv


class SimulatedGymEnv(LLMServeGymEnv):
    """LLMServeGymEnv that reads the features off the engine's arrays.

    Making the observation and taking it apart again would take longer than simulating the window.
    """

    def __init__(self, task: TaskSpec | str, **modes: Any) -> None:
        """Make a simulator for a task.

        Args:
            task: What is played, or the id of a shipped task.
            **modes: `action_mode` and `render_mode` of LLMServeGymEnv.

        Raises:
            InvalidInputError: If a mode is unknown.
            UnknownTaskError: If no task has this id.
        """
        catalogue = shipped_catalogue()
        if isinstance(task, str):
            task = catalogue.get(task)
        else:
            catalogue = catalogue.model_copy(update={"variants": (*catalogue.variants, task)})
        self._environment = ServingEnvironment(catalogue)
        tiers = build_deployment(task).tiers
        super().__init__(self._environment, task=task, tiers=tiers, **modes)
        self._encoder = FeatureEncoder(trends=compiled_trends)

    @property
    def observation(self) -> ServeObservation:
        """The last observation, made now."""
        return self._environment.observation

    def _start(self, **fields: Any) -> tuple[Features, dict[str, Any]]:
        observation = self._environment.reset(**fields)
        self._encoder.reset()
        return self._features(), observation.metadata

    def _play(self, action: ServeAction) -> tuple[Features, float, bool, dict[str, Any]]:
        outcome = self._environment.advance(action)
        return self._features(), outcome.reward, outcome.done, outcome.metadata

    def _features(self) -> Features:
        features: Features = self._encoder.extend(self._environment.features()[None, :])[0]
        return features


def make_gym_env(
    task_id: str, *, action_mode: str = "multidiscrete", render_mode: str | None = None
) -> LLMServeGymEnv:
    """A new environment that plays a shipped task; see LLMServeGymEnv for the modes.

    Raises:
        InvalidInputError: If a mode is unknown.
        UnknownTaskError: If no task has this id.
    """
    return SimulatedGymEnv(task_id, action_mode=action_mode, render_mode=render_mode)


def make_vector_env(task_id: str, **settings: Any) -> ServingVectorEnv:
    """Many environments of a shipped task that advance together; see ServingVectorEnv.

    Args:
        task_id: The task.
        **settings: `num_envs`, `action_mode`, `replicas`, `threads` and `autoreset_mode`.

    Raises:
        InvalidInputError: If a setting has no such value.
        UnknownTaskError: If no task has this id.
    """
    return ServingVectorEnv(task_id, **settings)


def make_trace_env(
    trace: str | Path,
    *,
    action_mode: str = "multidiscrete",
    render_mode: str | None = None,
    **options: Any,
) -> LLMServeGymEnv:
    """A new environment that plays a trace; see LLMServeGymEnv for the modes.

    Args:
        trace: The name of an imported trace or fit, or the path of one.
        action_mode: As in `make_gym_env`.
        render_mode: As in `make_gym_env`.
        **options: Of llmserve_env.traces.TraceOptions: task, ttft_ms, itl_ms, load, keep.

    Raises:
        InvalidInputError: If a mode or an option is unknown or out of range.
        UnknownTraceError: If there is no trace of this name.
    """
    task = trace_task(trace, **options)
    return SimulatedGymEnv(task, action_mode=action_mode, render_mode=render_mode)


def make_vector_trace_env(trace: str | Path, **settings: Any) -> ServingVectorEnv:
    """Many environments of a trace that advance together; see ServingVectorEnv.

    Args:
        trace: As in `make_trace_env`.
        **settings: Those of `make_vector_env`, and the options of `make_trace_env`.

    Raises:
        InvalidInputError: If a setting or an option has no such value.
        UnknownTraceError: If there is no trace of this name.
    """
    options = {name: settings.pop(name) for name in TraceOptions.model_fields if name in settings}
    return ServingVectorEnv(trace_task(trace, **options), **settings)


def trace_task(trace: str | Path, **options: Any) -> TaskSpec:
    """A trace as a task, found by its name in the folder of traces, or by its path.

    Args:
        trace: A text without a slash is a name; a Path, or a text with one, is a path.
        **options: Of llmserve_env.traces.TraceOptions.

    Raises:
        InvalidInputError: If an option is unknown or out of range, or there is no such file.
        UnknownTraceError: If there is no trace of this name.
    """
    is_name = isinstance(trace, str) and Path(trace).name == trace
    path = trace_file(str(trace)) if is_name else Path(trace).resolve()
    if not path.is_file():
        raise InvalidInputError(f"trace {str(trace)!r}: there is no such file")
    task_id = f"{TRACE_PREFIX}{path.stem}"
    return shipped_catalogue().trace_task(task_id, path, trace_options(options))
