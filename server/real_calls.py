"""Records of a real episode: the gateway's limits, a request on its way, what a window brought."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from server.real_failures import Failure
from server.real_vllm_metrics import MetricsSpan

DeploymentKey = tuple[str, bool]  # tier, split


@dataclass(frozen=True, slots=True)
class Limits:
    """What the knobs of a gateway amount to.

    Attributes:
        in_flight: Requests at the server at once, at least 1.
        tokens: Tokens that they may hold together; None: any number.
        by_class: Whether the highest class goes first; else the earliest arrival.
        deployment: Where requests are sent from now on.
    """

    in_flight: int
    tokens: int | None
    by_class: bool
    deployment: DeploymentKey


@dataclass(frozen=True, slots=True)
class Patience:
    """Where an episode's clients and its purse end.

    Attributes:
        queue_timeout_s: A client gives up after waiting so long without being sent.
        tokens: That the episode may cost in all.
    """

    queue_timeout_s: float
    tokens: int


@dataclass(slots=True, eq=False)
class Call:
    """One request; owned by the gateway. Times in seconds of the episode, NaN until they happen.

    Attributes:
        index: Its place in the episode's RequestBatch.
        priority_class: 0 is the highest.
        prompt_tokens: As planned.
        output_tokens: As planned, then as the server counted them.
        arrival_s: When it was due, whenever it was sent: a client that is late, or a full server,
            must not hide the wait (coordinated omission).
        tokens: Output tokens so far.
        attempts: How often it was sent.
        failure: Why it brought no answer, if it did not.
    """

    index: int
    priority_class: int
    prompt_tokens: int
    output_tokens: int
    arrival_s: float
    admitted_s: float = math.nan
    first_token_s: float = math.nan
    finish_s: float = math.nan
    tokens: int = 0
    attempts: int = 0
    failure: Failure | None = None
    # By the computer's clock, for gaps between tokens; NaN while the episode's clock stands still.
    last_token_at_s: float = math.nan

    @property
    def reserved_tokens(self) -> int:
        """What it may come to hold in the KV cache: prompt and the longest answer."""
        return self.prompt_tokens + self.output_tokens

    @property
    def has_first_token(self) -> bool:
        """Whether its first token came."""
        return not math.isnan(self.first_token_s)


@dataclass(slots=True)
class WindowEvents:
    """What happened since the last window was closed.

    Attributes:
        arrived: Requests that were due.
        first_tokens: Calls that got their first token, in order of time.
        decided: Calls that finished or failed, in order of time.
        gaps: (seconds per token, tokens) between successive outputs of a call.
        output_tokens: That came.
        prompt_tokens: Of the finished calls, as the server counted them; planned where it did not.
        planned_prompt_tokens: Of the same calls.
        chunks: Outputs that came; fewer than tokens if some held several.
        failures: Kinds of the calls that failed.
        retries: Kinds of the troubles after which a call was sent again.
    """

    arrived: int = 0
    first_tokens: list[Call] = field(default_factory=list)
    decided: list[Call] = field(default_factory=list)
    gaps: list[tuple[float, int]] = field(default_factory=list)
    output_tokens: int = 0
    prompt_tokens: int = 0
    planned_prompt_tokens: int = 0
    chunks: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)
    retries: Counter[Failure] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ServerView:
    """What a server told of itself in a window, and whether its knobs were under control.

    Attributes:
        span: Its metrics; None if nobody tells.
        problem: Why the window is not what the action asked for, if so.
        report: For the metadata.
    """

    span: MetricsSpan | None = None
    problem: str | None = None
    report: dict[str, Any] = field(default_factory=dict)
