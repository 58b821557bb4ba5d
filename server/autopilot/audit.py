"""What an autopilot decided, window by window, and why: one line of JSON each, written at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import RealObservation, ServeAction

# Of an observation, what an operator would want beside a decision.
TOLD_FIELDS: Final = (
    "queue_depth",
    "active_requests",
    "kv_cache_occupancy",
    "request_arrival_rate",
    "throughput_tps",
    "p50_ttft_ms",
    "p99_ttft_ms",
    "p50_itl_ms",
    "p99_itl_ms",
    "slo_compliance_rate",
    "slo_sample_count",
    "overdue_requests",
    "oldest_wait_ms",
    "eviction_events",
    "spec_acceptance_rate",
    "binding_constraint",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One window's decision.

    Attributes:
        window: Its number, from 1.
        seen: What was measured in the window before.
        reason: What held requests back then, and what changed, in words.
        wanted: By the policy.
        asked: Of the server: what of it acts, within the server's bounds; None if nothing was.
        changes: A sentence per knob that is to move.
        in_force: What the server says is in force; None if it did not say.
        problem: Why the knobs could not be moved; empty if nothing went wrong.
        watchdog: Its report.
    """

    window: int
    seen: RealObservation | None
    reason: str
    wanted: ServeAction | None
    asked: dict[str, Any] | None
    changes: Sequence[str]
    in_force: dict[str, Any] | None
    problem: str
    watchdog: dict[str, Any]

    def as_line(self, *, is_shadow: bool) -> str:
        """JSON on one line, with the time of day in UTC."""
        told = asdict(self) | {
            "seen": None
            if self.seen is None
            else {name: getattr(self.seen, name) for name in TOLD_FIELDS},
            "wanted": None if self.wanted is None else self.wanted.model_dump(),
            "changes": list(self.changes),
            "problem": self.problem or None,
        }
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "is_shadow": is_shadow} | told, allow_nan=False)


class Audit:
    """Appends decisions to a file; without one, keeps nothing."""

    def __init__(self, path: Path | None, *, is_shadow: bool) -> None:
        """Open the file for appending.

        Raises:
            InvalidInputError: If it cannot be written to.
        """
        self._is_shadow = is_shadow
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise InvalidInputError(f"audit file {path}: {error.strerror}") from error

    def write(self, decision: Decision) -> None:
        """Add a line, on the disk before the next decision is made."""
        if self._file is not None:
            self._file.write(decision.as_line(is_shadow=self._is_shadow) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
