"""What both ends of the wire agree on, and the client; each name is loaded when it is first used.

OpenEnv's client takes seconds to import, so nothing is imported here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmserve_env.gym_registration import register_when_imported

if TYPE_CHECKING:
    from llmserve_env.client import LLMServeEnv, ServeStepResult
    from llmserve_env.models import (
        EpisodeLog,
        GradeReport,
        ResetOptions,
        ServeAction,
        ServeObservation,
        ServeState,
    )

_MODULES = {
    "EpisodeLog": "llmserve_env.models",
    "GradeReport": "llmserve_env.models",
    "LLMServeEnv": "llmserve_env.client",
    "ResetOptions": "llmserve_env.models",
    "ServeAction": "llmserve_env.models",
    "ServeObservation": "llmserve_env.models",
    "ServeState": "llmserve_env.models",
    "ServeStepResult": "llmserve_env.client",
}

__all__ = [
    "EpisodeLog",
    "GradeReport",
    "LLMServeEnv",
    "ResetOptions",
    "ServeAction",
    "ServeObservation",
    "ServeState",
    "ServeStepResult",
]


def __getattr__(name: str) -> Any:
    """The public name, from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)


register_when_imported()
