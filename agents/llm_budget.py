"""What asking a language model costs: counted per episode, bounded over any number of them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from agents.llm_calls import MAY_COST, Answer, CallFailedError, Failure, Prompt


@dataclass(slots=True)
class Budget:
    """How much may be asked, over all episodes that share it.

    Attributes:
        max_calls: Calls, failed ones included.
        max_tokens: Tokens in and out. The call that reaches the bound is still counted in full.
        deadline_s: On the clock of time.monotonic.
    """

    max_calls: float = float("inf")
    max_tokens: float = float("inf")
    deadline_s: float = float("inf")
    calls: int = 0
    tokens: int = 0

    def check(self) -> None:
        """Refuse a call that nothing is left for.

        Raises:
            CallFailedError: With the kind LIMIT.
        """
        is_spent = self.calls >= self.max_calls or self.tokens >= self.max_tokens
        if is_spent or time.monotonic() >= self.deadline_s:
            raise CallFailedError(Failure.LIMIT)

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline_s - time.monotonic()


@dataclass(slots=True)
class Tally:
    """What one episode took.

    Attributes:
        decisions: Asked for.
        own_decisions: Those that became an action.
        failed_decisions: Those that came to nothing, by the failure of their last call.
        calls: Sent; a decision may take several.
        failed_calls: By failure.
        prompt_tokens: As the server counted; where it did not tell, a quarter of the characters.
        completion_tokens: Likewise.
        estimated_calls: Calls whose tokens are such an estimate, among them those that were cut
            or timed out and may or may not have been charged.
    """

    decisions: int = 0
    own_decisions: int = 0
    failed_decisions: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    failed_calls: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_calls: int = 0

    def add_answer(self, prompt: Prompt, answer: Answer) -> int:
        """Count an answered call; its tokens, in and out."""
        told = answer.prompt_tokens is not None and answer.completion_tokens is not None
        self.estimated_calls += not told
        sent = prompt.estimated_tokens if answer.prompt_tokens is None else answer.prompt_tokens
        said = answer.completion_tokens
        received = answer.estimated_tokens if said is None else said
        self.prompt_tokens += sent
        self.completion_tokens += received
        return sent + received

    def add_lost_call(self, prompt: Prompt, failure: Failure) -> int:
        """Count a call that failed on its way; the tokens that it may have cost."""
        self.failed_calls[failure.value] += 1
        if failure not in MAY_COST:
            return 0
        self.estimated_calls += 1
        self.prompt_tokens += prompt.estimated_tokens
        return prompt.estimated_tokens

    def as_metrics(self) -> dict[str, float]:
        """Flat numbers by name, as results are kept."""
        failures = {f"llm_failed_{name}": count for name, count in self.failed_decisions.items()}
        numbers = {
            "llm_decisions": self.decisions,
            "llm_failed_decisions": self.failed_decisions.total(),
            "llm_calls": self.calls,
            "llm_failed_calls": self.failed_calls.total(),
            "llm_prompt_tokens": self.prompt_tokens,
            "llm_completion_tokens": self.completion_tokens,
        } | failures
        return {name: float(number) for name, number in numbers.items()}
