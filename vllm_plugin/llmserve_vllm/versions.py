"""Which vLLM this plugin was written against, and a clear refusal of any other."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final

SUPPORTED: Final = (0, 32)


class UnsupportedVllmError(RuntimeError):
    """The installed vLLM is missing or has another scheduler than the one that is subclassed."""


def require_supported_vllm(version: str | None = None) -> None:
    """Pass silently if this version of vLLM, by default the installed one, is supported.

    Raises:
        UnsupportedVllmError: Naming the version found and the range wanted.
    """
    found = _installed() if version is None else version
    match = re.match(r"(\d+)\.(\d+)", found)
    if match is None or (int(match[1]), int(match[2])) != SUPPORTED:
        major, minor = SUPPORTED
        raise UnsupportedVllmError(
            f"llmserve-vllm works with vllm>={major}.{minor},<{major}.{minor + 1}, found {found}: "
            "the scheduler that it extends is not a public interface. Install a supported vLLM, "
            "or serve without --scheduler-cls"
        )


def _installed() -> str:
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return "none"
