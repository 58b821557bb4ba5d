"""What a trace says of itself: the record in the metadata of its parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.validation import first_problem
from llmserve_env.workloads import NonNegative, Positive, Spec

CARD_KEY: Final = b"llmserve_trace"
UNKNOWN_LICENCE: Final = "unknown"


class Jitter(Spec):
    """How times of a coarse clock were spread: U(0, tick_s), drawn with this seed."""

    tick_s: Positive
    seed: Annotated[int, Field(ge=0)]


class TraceCard(Spec):
    """Where a trace comes from and what was made of it.

    Attributes:
        source: Name of the file that was imported, without its folder.
        source_sha256: Of that file.
        source_format: Name of its format.
        time_unit: How its times were read: a unit, `iso`, or `iso with zone`.
        start_utc: When the first request arrived, in ISO 8601; None if its clock starts anywhere.
        rows_read: Requests in the file.
        rows: Requests in the trace.
        dropped: Requests left out, by reason.
        duration_s: From the first request to the last.
        zero_gap_fraction: Share of the gaps between requests that were zero before jitter.
        jitter: None if times were left as they are.
        licence: Of the source, as whoever imported it says.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    source: str
    source_sha256: str
    source_format: str
    time_unit: str
    start_utc: str | None
    rows_read: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=1)]
    dropped: dict[str, int]
    duration_s: NonNegative
    zero_gap_fraction: Annotated[float, Field(ge=0.0, le=1.0)]
    jitter: Jitter | None
    licence: str = UNKNOWN_LICENCE


def read_card(path: Path) -> TraceCard | None:
    """The card of a trace; None if another tool wrote the file.

    Raises:
        InvalidInputError: If the file is no readable parquet, or its card is not one.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInputError(f"trace {path.name}: not a readable parquet file") from error
    text = metadata.get(CARD_KEY)
    if text is None:
        return None
    try:
        return TraceCard.model_validate_json(text)
    except ValidationError as error:
        problem = first_problem(error)
        raise InvalidInputError(f"trace {path.name}: card: {problem}") from error
