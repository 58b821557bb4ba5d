"""Turns the process's environment variables into one frozen record, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "LLMSERVE_"
UNPREFIXED = {"PORT": "port", "ENABLE_WEB_INTERFACE": "web_interface"}


class Settings(BaseModel):
    """How the server listens and what it holds; every variable is listed in `from_environ`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="0.0.0.0", min_length=1)
    port: int = Field(default=7860, ge=0, le=65_535)
    max_sessions: int = Field(
        default=64, ge=1, le=4096, description="Episodes held over HTTP, and sockets on /ws, each."
    )
    session_ttl_s: float = Field(
        default=900.0,
        ge=600.0,
        le=86_400.0,
        description="An episode idle for longer is closed. At least 600 s: an agent may think.",
    )
    max_body_bytes: int = Field(default=1_048_576, ge=1024, le=64 * 1_048_576)
    log_level: Literal["critical", "error", "warning", "info", "debug"] = "info"
    web_interface: bool = True

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings in LLMSERVE_<FIELD IN CAPITALS>, PORT and ENABLE_WEB_INTERFACE.

        Raises:
            ValueError: Naming the variable that is unknown or out of range.
        """
        names = UNPREFIXED | {
            PREFIX + name.upper(): name
            for name in cls.model_fields
            if name not in UNPREFIXED.values()
        }
        unknown = [key for key in environ if key.startswith(PREFIX) and key not in names]
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(names)}")
        fields = {field: environ[key] for key, field in names.items() if key in environ}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            keys = {field: key for key, field in names.items()}
            raise ValueError(_explain(error, keys)) from error


def read_settings() -> Settings:
    """The settings of this process."""
    return Settings.from_environ(os.environ)


def publish_for_openenv(settings: Settings) -> None:
    """Set the variables that OpenEnv and Gradio themselves read while an app is built."""
    os.environ["ENABLE_WEB_INTERFACE"] = str(settings.web_interface).lower()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def _explain(error: ValidationError, keys: Mapping[str, str]) -> str:
    return "; ".join(
        f"{keys[str(problem['loc'][0])]}: {problem['msg']}, got {problem['input']!r}"
        for problem in error.errors()
    )
