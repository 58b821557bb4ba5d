"""What the MCP tools answer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from llmserve_env.models import RealObservation, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from server.knob_labels import knob_labels


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskSummary(_Answer):
    """One task that can be started."""

    task_id: str
    description: str
    windows: int = Field(description="Length of an episode.")
    window_s: float = Field(description="Seconds that a window lasts.")
    ttft_objective_ms: tuple[float, ...] = Field(
        description="Time to first token that priority classes 0, 1, 2 are promised."
    )
    itl_objective_ms: tuple[float, ...] = Field(
        description="Mean inter-token latency that they are promised."
    )
    knobs: dict[str, str] = Field(
        description="hot: acts at once; warm, cold: the engine serves nothing while it switches; "
        "fixed: cannot be moved."
    )
    graded: bool = Field(description="Whether grade() knows a scale for it.")


class Started(_Answer):
    """A new episode, before its first window."""

    episode_id: str
    task_id: str
    seed: int = Field(description="The same seed brings the same requests.")
    windows: int = Field(description="Windows that can be played.")
    briefing: str = Field(description="Deployment, objectives, reward and knobs.")
    config: ServeAction = Field(description="The configuration in force.")


class Played(_Answer):
    """What came of a configuration."""

    windows_played: int
    rewards: tuple[float, ...] = Field(description="Of each of these windows, in [-1, 1].")
    stopped_early: bool = Field(
        description="Whether the hold ended because objectives are missed that were met before."
    )
    windows_left: int
    done: bool = Field(description="Whether the episode is over.")
    situation: str = Field(
        description="The last 8 windows as a table whose columns name their units, what is in "
        "force, and what the last window lost."
    )


class Observed(_Answer):
    """Everything measured, of the last window."""

    windows_left: int
    situation: str = Field(description="The last 8 windows as a table.")
    observation: ServeObservation


class RealObserved(Observed):
    """The same of a real server, with None where nothing can be measured."""

    observation: RealObservation


def summary_of(task: TaskSpec) -> TaskSummary:
    """A task in short."""
    return TaskSummary(
        task_id=task.task_id,
        description=task.description,
        windows=task.windows,
        window_s=task.window_s,
        ttft_objective_ms=tuple(task.slo.ttft_ms),
        itl_objective_ms=tuple(task.slo.itl_ms),
        knobs=knob_labels(task),
        graded=task.variant_of is None,
    )
