"""The formats that are read, and which one a file is of: told by its columns, never by its name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from llmserve_env.errors import InvalidInputError

Kind = Literal["flat", "openai", "vllm", "otlp", "aiperf", "guidellm", "kv_cache_tester"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns, or keys of a JSON object, hold what."""

    time: str
    prompt: str
    output: str
    priority: str | None = None
    session: str | None = None
    tenant: str | None = None
    prefix_hit: str | None = None
    status: str | None = None

    @property
    def required(self) -> tuple[str, str, str]:
        """Without these there is no request."""
        return self.time, self.prompt, self.output


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: As `--format` takes it.
        title: What it comes from.
        columns: Of a format whose every row, or JSON object, is a request.
        more_keys: What tells it from others.
        kind: How it is taken apart; `flat` by `columns`.
        time_unit: `s`, `ms` or `ns`; None where it is told by the values.
        tick_s: The clock of the recording, where it is known to be coarse; its times are spread.
        block_tokens: Tokens that one of `hash_ids` stands for.
    """

    name: str
    title: str
    columns: Columns | None = None
    more_keys: tuple[str, ...] = ()
    kind: Kind = "flat"
    time_unit: str | None = None
    tick_s: float | None = None
    block_tokens: int | None = None

    @property
    def keys(self) -> frozenset[str]:
        """A file with all of these columns, or keys in its first object, is of this format."""
        required = () if self.columns is None else self.columns.required
        return frozenset((*required, *self.more_keys))


NATIVE: Final = Format(
    "native",
    "this project's own, as parquet, CSV or JSON Lines",
    Columns(
        "timestamp_s",
        "prompt_tokens",
        "output_tokens",
        priority="priority",
        session="session_id",
        tenant="tenant",
        prefix_hit="prefix_hit_tokens",
    ),
    time_unit="s",
)
_LENGTHS: Final = ("timestamp", "input_length", "output_length")
# The first whose keys are all there is the one, so those with more keys come first.
FORMATS: Final = (
    NATIVE,
    Format(
        "azure",
        "Azure LLM inference traces of 2023, 2024 and 2025",
        Columns("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    ),
    Format(
        "burstgpt",
        "BurstGPT v1, v2 and v3",
        Columns(
            "Timestamp",
            "Request tokens",
            "Response tokens",
            session="Session ID",
            tenant="Log Type",
        ),
        time_unit="s",
        tick_s=1.0,
    ),
    Format(
        "bailian",
        "Alibaba Bailian",
        Columns(*_LENGTHS, tenant="type"),
        more_keys=("chat_id", "hash_ids"),
        time_unit="s",
        block_tokens=16,
    ),
    Format(
        "ragpulse",
        "RAGPulse",
        Columns(*_LENGTHS, session="session_id"),
        more_keys=("session_id", "hash_ids"),
        time_unit="s",
    ),
    Format(
        "mooncake",
        "Mooncake",
        Columns(*_LENGTHS),
        more_keys=("hash_ids",),
        time_unit="ms",
        block_tokens=512,
    ),
    Format(
        "vidur",
        "Vidur",
        Columns("arrived_at", "num_prefill_tokens", "num_decode_tokens"),
        time_unit="s",
    ),
    Format(
        "litellm",
        "LiteLLM's spend logs",
        Columns(
            "startTime",
            "prompt_tokens",
            "completion_tokens",
            tenant="model",
            status="status",
        ),
    ),
    Format(
        "openai",
        "logs of OpenAI's responses with their usage",
        more_keys=(
            "created",
            "usage",
        ),
        kind="openai",
        time_unit="s",
        tick_s=1.0,
    ),
    Format(
        "vllm",
        "vLLM: bench serve --save-detailed",
        more_keys=(
            "input_lens",
            "output_lens",
        ),
        kind="vllm",
        time_unit="s",
    ),
    Format(
        "otlp",
        "OpenTelemetry spans of requests, vLLM's too",
        more_keys=("resourceSpans",),
        kind="otlp",
        time_unit="ns",
    ),
    Format(
        "aiperf",
        "aiperf: profile_export.jsonl",
        more_keys=(
            "metadata",
            "metrics",
        ),
        kind="aiperf",
        time_unit="ns",
    ),
    Format(
        "guidellm",
        "guidellm: benchmarks.json",
        more_keys=("benchmarks",),
        kind="guidellm",
        time_unit="s",
    ),
    Format(
        "kv_cache_tester",
        "sessions of kv-cache-tester",
        more_keys=(
            "requests",
            "block_size",
        ),
        kind="kv_cache_tester",
        time_unit="s",
    ),
)
# jsonl is the name that other tools give to rows of one's own.
ALIASES: Final = {"jsonl": "native", "csv": "native", "parquet": "native"}
FORMAT_NAMES: Final = (*(known.name for known in FORMATS), *ALIASES)
CONVERSATIONS: Final = "conversations"


def detect(keys: Collection[str], *, wanted: str | None) -> Format:
    """The format of a file with these columns or keys.

    Args:
        keys: Columns of a table, or keys of the first object of a JSON file.
        wanted: Name of the format that it has to be of; detected if left out.

    Raises:
        InvalidInputError: If it is of no known format, or not of the one wanted.
    """
    present = set(keys)
    if wanted is not None:
        chosen = by_name(wanted)
        missing = sorted(chosen.keys - present)
        if missing:
            raise InvalidInputError(
                f"not of format {chosen.name!r}: it lacks {', '.join(missing)}; it has "
                f"{_listed(keys)}"
            )
        return chosen
    for known in FORMATS:
        if known.keys <= present:
            return known
    if CONVERSATIONS in present:
        raise InvalidInputError(
            "it holds conversations without times or token counts: that is a data set of texts, "
            "not a trace; replay it against a server and import what that recorded"
        )
    raise InvalidInputError(
        f"of no known format: it has {_listed(keys)}; known: "
        f"{', '.join(known.name for known in FORMATS)}; rows of your own need timestamp_s, "
        "prompt_tokens, output_tokens"
    )


def by_name(name: str) -> Format:
    """The format of this name.

    Raises:
        InvalidInputError: Naming those that exist.
    """
    meant = ALIASES.get(name, name)
    for known in FORMATS:
        if known.name == meant:
            return known
    raise InvalidInputError(f"unknown format {name!r}; known: {', '.join(FORMAT_NAMES)}")


def _listed(keys: Collection[str]) -> str:
    shown = [repr(str(key)[:40]) for key in list(keys)[:12]]
    more = f" and {len(keys) - 12} more" if len(keys) > 12 else ""
    return (", ".join(shown) or "nothing") + more
