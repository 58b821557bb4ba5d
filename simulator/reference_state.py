"""What the plain-Python engine keeps: requests, replicas and the sums of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from simulator.state import PENDING, TOKEN


@dataclass(slots=True, eq=False)
class Request:
    """One request and what has happened to it; times in seconds, progress in 1/1024 tokens."""

    index: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    priority_class: int
    acceptance_first: float
    acceptance_ratio: float
    status: int = PENDING
    generated: int = 0
    admitted_s: float | None = None
    first_token_s: float | None = None
    finish_s: float | None = None
    last_token_s: float | None = None  # set while its stream is interrupted
    preemptions: int = 0
    sequence: int = 0  # order of admission
    prefill_target: int = 0
    prefill_done: int = 0
    prefill_chunk: int = 0

    @property
    def context(self) -> int:
        """Tokens in its KV cache, in 1/1024 tokens."""
        return self.prompt_tokens * TOKEN + self.generated

    def rate(self, depth: int) -> int:
        """Tokens per decode step in 1/1024 tokens."""
        expected, chain, chance = 1.0, 1.0, self.acceptance_first
        for _ in range(depth):
            chain *= min(chance, 1.0)
            expected += chain
            chance *= self.acceptance_ratio
        return int(expected * TOKEN + 0.5)


@dataclass(slots=True, eq=False)
class Replica:
    """One GPU's engine: what waits for it, what it runs, and until when it is busy."""

    waiting: list[Request] = field(default_factory=list)
    prefilling: list[Request] = field(default_factory=list)
    decoding: list[Request] = field(default_factory=list)
    held: list[Request] = field(default_factory=list)  # prefilled, KV not yet taken over
    is_iterating: bool = False
    free_at_s: float = math.inf
    began_s: float = 0.0
    steps_in_flight: int = 0
    depth: int = 0

    @property
    def running(self) -> list[Request]:
        """Everything admitted and not handed over."""
        return self.decoding + self.prefilling

    @property
    def contexts(self) -> int:
        """Tokens in the KV cache of the decoding sequences, in 1/1024 tokens."""
        return sum(request.context for request in self.decoding)


@dataclass(slots=True)
class ReferenceWindow:
    """What one window added up to."""

    output: int = 0
    prefill_tokens: int = 0
    preemptions: int = 0
    proposed: int = 0
    accepted: int = 0
    iterations: int = 0
    gaps: list[tuple[float, int]] = field(default_factory=list)
