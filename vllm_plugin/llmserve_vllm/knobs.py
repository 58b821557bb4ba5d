"""The knobs of a running engine, their bounds, and a strict reading of what somebody asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

LEAST_CHUNK_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class Knobs:
    """One setting of the engine.

    Attributes:
        batch_cap: Requests that run at once, at most; what runs above it drains.
        kv_budget_fraction: Share of the KV cache's blocks that requests may hold.
        speculation_depth: Draft tokens per step; 0: none.
        priority_routing: Whether the waiting go by their priority, lower first, then by arrival.
        prefill_chunk_tokens: Of one prompt per step, at most; 0: as many as the budget allows.
        token_budget: Tokens per step, at most.
    """

    batch_cap: int
    kv_budget_fraction: float
    speculation_depth: int
    priority_routing: bool
    prefill_chunk_tokens: int
    token_budget: int


KNOBS: Final = tuple(field.name for field in fields(Knobs))
Value = int | float | bool
Change = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Bound:
    """The range of a knob, both ends included; `set_by` is what fixed it when the server started.

    Attributes:
        or_zero: Whether 0, which turns the knob off, is allowed below the minimum.
    """

    minimum: float
    maximum: float
    set_by: str
    or_zero: bool = False


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What vLLM was started with, as far as it bounds a knob.

    Attributes:
        max_num_seqs: Requests that its buffers hold.
        max_active: Requests that it runs at once by itself.
        token_budget: Tokens per step by itself.
        prefill_chunk_tokens: Of one prompt per step by itself; 0: no such limit.
        can_chunk: Whether prompts may be split over steps.
        num_spec_tokens: Draft tokens per step by itself; 0: no speculation.
        is_priority: Whether it orders by priority by itself.
        kv_blocks: Blocks of the KV cache.
        block_tokens: Tokens in a block.
        kv_groups: Kinds of layers, each of which needs blocks of its own for the same tokens.
        max_model_len: Tokens of the longest request.
    """

    max_num_seqs: int
    max_active: int
    token_budget: int
    prefill_chunk_tokens: int
    can_chunk: bool
    num_spec_tokens: int
    is_priority: bool
    kv_blocks: int
    block_tokens: int
    kv_groups: int
    max_model_len: int

    @property
    def defaults(self) -> Knobs:
        """What vLLM does without anybody's help."""
        return Knobs(
            batch_cap=self.max_active,
            kv_budget_fraction=1.0,
            speculation_depth=self.num_spec_tokens,
            priority_routing=self.is_priority,
            prefill_chunk_tokens=self.prefill_chunk_tokens,
            token_budget=self.token_budget,
        )

    @property
    def bounds(self) -> dict[str, Bound]:
        """The range of every knob.

        No budget is so small that the longest request never fits, or that a running request is
        left out of a step: such a request would wait for ever.
        """
        longest_blocks = self.kv_groups * math.ceil(self.max_model_len / self.block_tokens) + 1
        every_request_tokens = self.max_num_seqs * (1 + self.num_spec_tokens)
        chunk, budget = self.prefill_chunk_tokens, self.token_budget
        return {
            "batch_cap": Bound(1, self.max_num_seqs, "--max-num-seqs"),
            "kv_budget_fraction": Bound(
                min(longest_blocks / self.kv_blocks, 1.0), 1.0, "--max-model-len"
            ),
            "speculation_depth": Bound(0, self.num_spec_tokens, "--speculative-config"),
            "priority_routing": Bound(0, 1, "nothing"),
            "prefill_chunk_tokens": Bound(
                LEAST_CHUNK_TOKENS, budget, "--max-num-batched-tokens", or_zero=True
            )
            if self.can_chunk
            else Bound(chunk, chunk, "--no-enable-chunked-prefill"),
            "token_budget": Bound(
                min(every_request_tokens, budget), budget, "--max-num-batched-tokens"
            )
            if self.can_chunk
            else Bound(budget, budget, "--no-enable-chunked-prefill"),
        }


class RefusedError(ValueError):
    """A request to the control channel cannot be granted.

    Attributes:
        status: Of the HTTP answer.
        code: Machine-readable.
        details: One entry per value at fault.
    """

    def __init__(
        self, message: str, *, status: int, code: str, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.details = status, code, details or []


def parse_change(asked: Any, bounds: Mapping[str, Bound]) -> Change:
    """The knobs that are to change, checked; those left out stay as they are.

    Raises:
        RefusedError: Naming every value that is unknown, of the wrong type or out of bounds.
    """
    if not isinstance(asked, Mapping) or not asked:
        raise RefusedError(
            f"knobs must be an object with some of {', '.join(KNOBS)}",
            status=400,
            code="INVALID_KNOBS",
        )
    problems = [
        problem for name in asked if (problem := _problem(name, asked[name], bounds)) is not None
    ]
    if problems:
        message = "; ".join(problem["message"] for problem in problems)
        raise RefusedError(message, status=400, code="INVALID_KNOBS", details=problems)
    return dict(asked)


def changed(knobs: Knobs, change: Change) -> Knobs:
    """The setting after a change."""
    return Knobs(**(asdict(knobs) | change))


def _problem(name: str, value: Any, bounds: Mapping[str, Bound]) -> dict[str, Any] | None:
    if name not in bounds:
        message = f"unknown knob {name!r}; known: {', '.join(KNOBS)}"
        return {"knob": name, "message": message}
    wanted = _TYPES[name]
    fits = isinstance(value, bool) is (wanted is bool) and isinstance(
        value, (int, float) if wanted is float else wanted
    )
    if not fits or not math.isfinite(value):
        message = f"{name} must be {_TYPE_NAMES[wanted]}, got {value!r}"
        return {"knob": name, "got": repr(value), "message": message}
    bound = bounds[name]
    if bound.minimum <= value <= bound.maximum or (bound.or_zero and value == 0):
        return None
    zero = "0 or " if bound.or_zero else ""
    return {
        "knob": name,
        "got": value,
        "minimum": bound.minimum,
        "maximum": bound.maximum,
        "set_by": bound.set_by,
        "message": f"{name} must be {zero}in [{bound.minimum:g}, {bound.maximum:g}] "
        f"(set by {bound.set_by} at the start), got {value!r}",
    }


_TYPES: Final = {
    "batch_cap": int,
    "kv_budget_fraction": float,
    "speculation_depth": int,
    "priority_routing": bool,
    "prefill_chunk_tokens": int,
    "token_budget": int,
}
_TYPE_NAMES: Final = {int: "a whole number", float: "a number", bool: "true or false"}
