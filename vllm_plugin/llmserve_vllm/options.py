"""What --additional-config says of the control channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

KEY: Final = "llmserve"
DEFAULT_PORT: Final = 8900
EXAMPLE: Final = (
    '--additional-config \'{"llmserve": {"control_port": 8900, "token_file": "/path"}}\''
)


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """Where the control channel listens, on loopback, and the token that it asks for, if any."""

    port: int = DEFAULT_PORT
    token: str | None = None


def read_options(additional_config: Any) -> ChannelOptions:
    """The options under the key `llmserve`; the defaults where there is none.

    The token is in a file, because vLLM writes its own options to its log.

    Raises:
        ValueError: Naming what is unknown, of the wrong type or cannot be read.
    """
    given = additional_config.get(KEY, {}) if isinstance(additional_config, Mapping) else {}
    if not isinstance(given, Mapping) or set(given) - {"control_port", "token_file"}:
        raise ValueError(f"{KEY} must hold control_port and token_file alone: {EXAMPLE}")
    port = given.get("control_port", DEFAULT_PORT)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65_535:
        raise ValueError(f"control_port must be a whole number in [1, 65535], got {port!r}")
    path = given.get("token_file")
    return ChannelOptions(port, None if path is None else _read_token(str(path)))


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"token_file {path!r} cannot be read: {error.strerror}") from None
    if not token:
        raise ValueError(f"token_file {path!r} is empty")
    return token
