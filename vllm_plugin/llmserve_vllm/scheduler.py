"""The names for --scheduler-cls: TunableScheduler and TunableAsyncScheduler.

They are loaded when vLLM asks for them, after a look at its version: with another version the
import of its internals would fail with a message that helps nobody.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from llmserve_vllm.versions import require_supported_vllm

_NAMES: Final = ("TunableScheduler", "TunableAsyncScheduler")


def __getattr__(name: str) -> Any:
    """The class of this name.

    Raises:
        UnsupportedVllmError: If the installed vLLM is not the one that it extends.
        AttributeError: If there is none.
    """
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has {' and '.join(_NAMES)}, not {name!r}")
    require_supported_vllm()
    return getattr(importlib.import_module("llmserve_vllm.tunable"), name)
