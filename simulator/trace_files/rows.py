"""What readers of trace files hand on: rows of numbers, and a ledger of what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import InvalidInputError

UNKNOWN: Final = -1
MAX_TOKENS: Final = 2**31 - 1
MAX_TENANTS: Final = 30_000

NO_COUNTS: Final = "no token counts"
NO_PROMPT: Final = "no prompt tokens"
NO_OUTPUT: Final = "no output tokens"
NO_TIME: Final = "no time"
FAILED: Final = "failed or cancelled"
OTHER_SPAN: Final = "span of no request"
WARM_UP: Final = "warm-up of a benchmark"

# One request. Nothing else is ever kept of a row: no text, no user.
ROW: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("prompt_tokens", "<i4"),
        ("output_tokens", "<i4"),
        ("prefix_hit_tokens", "<i4"),
        ("tenant", "<i4"),
        ("session_id", "<i8"),
        ("priority", "<i1"),
    ]
)
Rows = npt.NDArray[np.void]
# Columns that are written only where the source has them.
OPTIONAL: Final = ("priority", "session_id", "prefix_hit_tokens", "tenant")


class BadValueError(Exception):
    """A value that cannot be what its field needs; whoever knows the file makes it an error."""

    def __init__(self, index: int, field_name: str, value: object, need: str) -> None:
        super().__init__(f"{field_name} must be {need}, got {str(value)!r:.60}")
        self.index = index


@dataclass(slots=True)
class Ledger:
    """What a reader saw; owned by one import.

    Attributes:
        read: Requests read, those that were left out included.
        dropped: Requests left out, by reason.
        tenants: Codes of the names of tenants.
        columns: Optional columns that the source has.
        time_unit: How its times were read.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tenants: dict[str, int] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    time_unit: str = "s"

    def drop(self, reason: str, count: int = 1) -> None:
        """Count requests that were left out."""
        if count:
            self.read += count
            self.dropped[reason] += count

    def tenant_code(self, name: str) -> int:
        """The code of a tenant.

        Raises:
            InvalidInputError: If there are more tenants than a column of names is for.
        """
        code = self.tenants.setdefault(name, len(self.tenants))
        if code >= MAX_TENANTS:
            raise InvalidInputError(
                f"more than {MAX_TENANTS} tenants: that column looks like an id, not like a tenant"
            )
        return code

    def admit(self, rows: Rows) -> Rows:
        """The rows that are requests; those without tokens are counted as dropped."""
        no_prompt = rows["prompt_tokens"] < 1
        no_output = ~no_prompt & (rows["output_tokens"] < 1)
        self.drop(NO_PROMPT, int(no_prompt.sum()))
        self.drop(NO_OUTPUT, int(no_output.sum()))
        kept = rows[~(no_prompt | no_output)]
        self.read += len(kept)
        return kept


def empty_rows(count: int) -> Rows:
    """Rows whose optional fields are unknown."""
    rows: Rows = np.zeros(count, ROW)
    for name in OPTIONAL:
        rows[name] = UNKNOWN
    return rows


def malformed(file_name: str, where: str, problem: object) -> InvalidInputError:
    """The error that names the place in the file."""
    return InvalidInputError(f"{file_name}, {where}: {problem}")


def first_index(bad: Any) -> int:
    """The first true position of a mask."""
    return int(np.asarray(bad).argmax())
