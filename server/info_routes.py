"""GET /health, /tasks, /info and /schema: what there is to play and how it is described."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from grader.grading import scale_of
from grader.references import ReferenceScores, TaskReference
from llmserve_env.splits import SPLITS
from llmserve_env.tasks import Catalogue, TaskSpec
from llmserve_env.traces import TRACE_PREFIX, trace_files
from server.knob_labels import knob_labels
from server.openenv_adapter import (
    DESCRIPTION,
    ENVIRONMENT_NAME,
    WireAction,
    WireObservation,
    WireRealObservation,
    WireRealState,
    WireState,
)
from server.profile_facts import all_profiles
from server.settings import Settings
from server.split_tasks import seed_bounds
from simulator.validity import fidelity_line

UNITS = {
    "_s": "seconds",
    "_ms": "milliseconds",
    "_tps": "tokens per second",
    "_rps": "requests per second",
    "_gb": "10^9 bytes",
    "_fraction": "share from 0 to 1",
    "_rate": "share from 0 to 1; request_arrival_rate is requests per second",
    "_per_1k": "US dollars per 1000 output tokens",
    "cost_so_far": "US dollars",
    "mean_prompt_length": "tokens",
}


class HealthResponse(BaseModel):
    """Answer to GET /health; sessions are episodes over HTTP, sockets those on /ws."""

    status: Literal["healthy"] = "healthy"
    version: str
    active_sessions: int
    active_sockets: int
    uptime_s: float


class SchemaResponse(BaseModel):
    """Answer to GET /schema: JSON schemas of what crosses the wire."""

    action: dict[str, Any]
    observation: dict[str, Any]
    state: dict[str, Any]


def info_router(
    catalogue: Catalogue,
    settings: Settings,
    *,
    references: ReferenceScores,
    count_sessions: Callable[[], int],
    count_sockets: Callable[[], int],
    real: dict[str, Any] | None = None,
) -> APIRouter:
    """The routes that describe this catalogue and this server.

    Args:
        catalogue: Tasks and variants.
        settings: Of the server.
        references: Anchors of the scores.
        count_sessions: Episodes held over HTTP.
        count_sockets: Sockets open on /ws.
        real: What there is to say of the real server, where one is played on.
    """
    router = APIRouter(tags=["Environment Info"])
    started_s = time.monotonic()

    @router.get("/health")
    async def health() -> HealthResponse:
        """Whether the server answers, and how much it holds."""
        return HealthResponse(
            version=catalogue.environment_version,
            active_sessions=count_sessions(),
            active_sockets=count_sockets(),
            uptime_s=time.monotonic() - started_s,
        )

    @router.get("/tasks")
    async def tasks() -> dict[str, Any]:
        """What can be played: knobs, objectives, traffic, deployment, anchors; traces by name."""
        version = catalogue.environment_version
        return {
            "environment_version": version,
            "splits": {split: seed_bounds(split) for split in SPLITS},
            "scale": scale_of(references),
            "tasks": [
                describe_task(task, references.get(task.task_id, version))
                for task in catalogue.tasks
            ],
            "variants": [describe_task(task) for task in catalogue.variants],
            "traces": [f"{TRACE_PREFIX}{name}" for name in trace_files()],
        }

    @router.get("/info")
    async def info() -> dict[str, Any]:
        """Everything a client can know in advance: schemas, rewards, units, limits."""
        return {
            "name": ENVIRONMENT_NAME,
            "description": DESCRIPTION,
            "environment_version": catalogue.environment_version,
            "schemas": schemas(is_real=real is not None).model_dump(),
            "units": UNITS,
            "reward_weights": {
                task.task_id: task.reward.model_dump() for task in catalogue.playable
            },
            "knobs": {task.task_id: knob_labels(task) for task in catalogue.playable},
            "profiles": {
                profile.name: {"tiers": profile.offered, "fidelity": fidelity_line(profile.name)}
                for profile, _ in all_profiles()[0]
            },
            "limits": settings.model_dump(
                include={"max_sessions", "session_ttl_s", "max_body_bytes"}
            ),
        } | ({} if real is None else {"real": real})

    @router.get("/schema")
    async def schema() -> SchemaResponse:
        """The JSON schemas of action, observation and state."""
        return schemas(is_real=real is not None)

    return router


def describe_task(task: TaskSpec, reference: TaskReference | None = None) -> dict[str, Any]:
    """What a client needs to choose a task, to act in it and to judge a score.

    Args:
        task: Task or variant.
        reference: The anchors of its score; left out where it is not graded.
    """
    facts = task.model_dump(mode="json", exclude={"task_id"}, exclude_none=True)
    anchors = {} if reference is None else {"anchors": reference.model_dump(mode="json")}
    return {"id": task.task_id, "knobs": knob_labels(task)} | facts | anchors


def schemas(*, is_real: bool = False) -> SchemaResponse:
    """The schemas of the three records as they cross the wire."""
    observation = WireRealObservation if is_real else WireObservation
    return SchemaResponse(
        action=WireAction.model_json_schema(),
        observation=observation.model_json_schema(),
        state=(WireRealState if is_real else WireState).model_json_schema(),
    )
