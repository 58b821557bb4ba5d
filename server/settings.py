"""Turns the process's environment variables into one frozen record, read once."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from agents.llm_settings import DEFAULT_MODEL
from llmserve_env.traces import use_traces_folder
from server.limit_settings import LimitSettings
from server.real_settings import OptionalName, OptionalUrl
from server.temporary import can_write_temporary_files
from simulator.profile_files import use_profiles_folder

logger = logging.getLogger("uvicorn.error")

PREFIX = "LLMSERVE_"
UNPREFIXED = {
    "PORT": "port",
    "ENABLE_WEB_INTERFACE": "web_interface",
    "OPENAI_API_KEY": "openai_api_key",
    "OPENAI_BASE_URL": "openai_base_url",
    "SPACE_ID": "space_id",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "otel_endpoint",
}
WRONG_SETTINGS = 2  # exit status
SECRETS = {"openai_api_key", "token"}


class Settings(LimitSettings):
    """How the server listens, what it holds and what is played on: see `from_environ`."""

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
    traces_dir: OptionalName = Field(
        default=None,
        description="Folder of imported traces, played as trace:NAME; the user's own if left out.",
    )
    profiles_dir: OptionalName = Field(
        default=None,
        description="Folder of GPU profiles of one's own; the user's own folder if left out.",
    )
    openai_model: str = Field(
        default=DEFAULT_MODEL, min_length=1, description="Plays at GET /baseline?use_openai=true."
    )
    openai_base_url: OptionalUrl = Field(
        default=None, description="Where that model is; OpenAI itself if left out."
    )
    openai_max_calls: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Calls that all visitors together may cause while the process lives; 0: none, "
        "whatever key there is.",
    )
    openai_max_tokens: int = Field(
        default=500_000, ge=0, le=100_000_000, description="The same in tokens, in and out."
    )
    otel_endpoint: OptionalUrl = Field(
        default=None,
        description="A collector of OpenTelemetry, such as http://127.0.0.1:4318; wants `otel`.",
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings in LLMSERVE_<FIELD IN CAPITALS> and the variables of UNPREFIXED.

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


def settings_or_exit() -> Settings:
    """The settings of this process; if they are wrong, a line says so and it ends with status 2."""
    try:
        return read_settings()
    except ValueError as error:
        sys.stderr.write(f"server: {error}\n")
        raise SystemExit(WRONG_SETTINGS) from None


def use_folders_of(settings: Settings) -> None:
    """Look for imported traces and users' profiles where the settings say."""
    use_traces_folder(_folder(settings.traces_dir))
    use_profiles_folder(_folder(settings.profiles_dir))


def use_folders_of_environment() -> None:
    """The same for a program that needs no other setting."""
    use_traces_folder(_folder(os.environ.get(f"{PREFIX}TRACES_DIR")))
    use_profiles_folder(_folder(os.environ.get(f"{PREFIX}PROFILES_DIR")))


def _folder(path: str | None) -> Path | None:
    return Path(path) if path else None


def without_page_where_nothing_can_be_written(settings: Settings) -> Settings:
    """The settings; without the page, which Gradio makes a folder for, if none can be made."""
    if not settings.web_interface or can_write_temporary_files():
        return settings
    logger.warning("No temporary folder can be written to: the page at /web is left out")
    return settings.model_copy(update={"web_interface": False})


def publish_for_openenv(settings: Settings) -> None:
    """Set the variables that OpenEnv and Gradio themselves read while an app is built."""
    os.environ["ENABLE_WEB_INTERFACE"] = str(settings.web_interface).lower()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def _explain(error: ValidationError, keys: Mapping[str, str]) -> str:
    return "; ".join(
        f"{keys[str(problem['loc'][0])]}: {problem['msg']}, got {_shown(problem)}"
        if problem["loc"]
        else problem["msg"].removeprefix(
            "Value error, "
        )  # of several variables; their values may be secret
        for problem in error.errors()
    )


def _shown(problem: ErrorDetails) -> str:
    return "a secret" if problem["loc"][0] in SECRETS else repr(problem["input"])
