"""The server's log: lines of text or of JSON, each with its request, none with a secret."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from llmserve_env.models import ServeObservation
from server.settings import Settings

REQUESTS_LOGGER: Final = "server.requests"
HIDDEN: Final = "[secret]"
# A session's id is the key to its episode: its beginning tells sessions apart as well.
SHOWN_ID_CHARACTERS: Final = 8

# Of the request or socket that the running task serves.
request_id_of: ContextVar[str | None] = ContextVar("request_id_of", default=None)


@dataclass(frozen=True, slots=True)
class Played:
    """What a request or message reached.

    Attributes:
        session: The beginning of the session's id.
        task: Its task.
        step: Windows played.
    """

    session: str
    task: str
    step: int

    @classmethod
    def of(cls, session_id: str, observation: ServeObservation) -> Self:
        """Where this session stands."""
        return cls(session_id[:SHOWN_ID_CHARACTERS], observation.task_id, observation.step_index)

    def fields(self) -> dict[str, Any]:
        """As fields of a line in the log."""
        return {"session": self.session, "task": self.task, "step": self.step}


class LineFormatter(logging.Formatter):
    """One line per record; `extra={"fields": {...}}` adds fields to it."""

    def __init__(self, *, as_json: bool, secrets: Iterable[str] = ()) -> None:
        """Write JSON or text, with every secret replaced."""
        super().__init__()
        self._as_json = as_json
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """The line; in text a traceback follows on lines of its own."""
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id_of.get(),
        }
        facts = {key: value for key, value in facts.items() if value is not None}
        facts |= getattr(record, "fields", {})
        error = self.formatException(record.exc_info) if record.exc_info else None
        line = _json_line(facts, error) if self._as_json else _text_line(facts, error)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        return line


def _json_line(facts: Mapping[str, Any], error: str | None) -> str:
    whole = facts if error is None else {**facts, "exception": error}
    return json.dumps(whole, default=str)


def _text_line(facts: Mapping[str, Any], error: str | None) -> str:
    rest = {key: value for key, value in facts.items() if key not in _HEAD}
    line = f"{facts['time']} {facts['level']:<7} {facts['message']}"
    line += "".join(f" {key}={value}" for key, value in rest.items())
    # What a client sends must not begin a line of its own.
    line = line.replace("\r", "\\r").replace("\n", "\\n")
    return line if error is None else f"{line}\n{error}"


_HEAD: Final = frozenset({"time", "level", "logger", "message"})


def configure_logs(settings: Settings) -> None:
    """Send everything that this process logs to stderr, in the one form."""
    # Asked for every record, and shown in no line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    level = settings.log_level.upper()
    # Below that, uvicorn and websockets print every header and frame.
    quiet = "INFO" if level == "DEBUG" else level
    names = ("uvicorn", "uvicorn.error")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": LineFormatter,
                    "as_json": settings.log_format == "json",
                    "secrets": secrets_of(settings),
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {name: {"level": quiet, "handlers": [], "propagate": True} for name in names}
            # Requests have a line of our own: whoever starts uvicorn by hand needs no second one.
            | {"uvicorn.access": {"handlers": [], "propagate": False}, "server": {"level": level}},
        }
    )


def secrets_of(settings: Settings) -> list[str]:
    """Keys, tokens and passwords in the settings."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    keys = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    urls = [value for value in values if isinstance(value, str) and "://" in value]
    for value in values:
        if isinstance(value, dict):
            urls += [url for url in value.values() if isinstance(url, str)]
    return keys + [password for url in urls if (password := urlsplit(url).password)]
