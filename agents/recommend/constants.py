"""Searches the cheapest constant setting that holds the objectives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from agents.knob_steps import drawn_actions, neighbours
from agents.knobs import KnobMenu
from agents.recommend.ask import FIRST_TOKEN_BUDGET, TOKEN_BUDGETS, Ask
from agents.recommend.tallies import Summary
from llmserve_env.models import KNOBS, QuantizationTier, ServeAction

STARTS: Final = 3
MAX_PASSES: Final = 4
TOKEN_BUDGET: Final = "token_budget"
# Prices closer than this, as a share, are alike: whatever a setting, other requests are still
# running when the last block ends.
PRICE_STEP: Final = 0.01
KV_KNOB: Final = "kv_budget_fraction"


class Candidate(NamedTuple):
    """A constant setting: the knobs, and the tokens that an iteration may have."""

    token_budget: int
    action: ServeAction


Play = Callable[[Sequence[Candidate]], list[Summary]]


def strain(ask: Ask, summary: Summary) -> float:
    """The larger of both p99s over their objectives: at most 1 where they hold."""
    ratios = (
        summary.p99_ttft_ms / ask.slo_ttft_p99_ms,
        summary.p99_itl_ms / ask.slo_itl_p99_ms,
    )
    return max(math.inf if math.isnan(ratio) else ratio for ratio in ratios)


def rank(ask: Ask, summary: Summary) -> tuple[float, float, float]:
    """Sorts settings: those that hold with the margin by price, the rest by what they miss.

    Of those that cost the same within a step of the price, the one with more room goes first.
    """
    used = strain(ask, summary)
    if used <= 1.0 - ask.margin:
        return (0.0, round(math.log(summary.usd_per_1k) / PRICE_STEP), used)
    return (1.0, used, summary.usd_per_1k)


class ConstantSearch:
    """Finds good constants, and remembers all that were played.

    Attributes:
        known: What every setting that was played reached, in order.
    """

    def __init__(
        self, ask: Ask, menu: KnobMenu, tiers: Sequence[QuantizationTier], play: Play
    ) -> None:
        """Take what is asked, what may be set, and what plays settings on earlier traffic."""
        self.known: dict[Candidate, Summary] = {}
        self._ask, self._menu, self._tiers, self._play = ask, menu, tiers, play

    def screen(self, also: Iterable[Candidate]) -> None:
        """Play settings drawn all over the knobs, and some others."""
        drawn = drawn_actions(self._menu, self._ask.candidates * len(self._menu.tiers))
        allowed = [action for action in drawn if action.quantization_tier in self._tiers]
        chosen = [Candidate(FIRST_TOKEN_BUDGET, each) for each in allowed[: self._ask.candidates]]
        self._learn([*also, *chosen])

    def descend(self, starts: Sequence[Candidate], *, pinned: str | None = None) -> Candidate:
        """The best that steps along single knobs lead to, with one knob left as it is."""
        self._learn(starts)
        current = list(starts)
        for fine in (False, True):
            for _ in range(MAX_PASSES):
                before = list(current)
                for knob in (TOKEN_BUDGET, *filter(self._menu.moves, KNOBS)):
                    if knob != pinned:
                        current = self._step(current, knob, fine=fine)
                if current == before:
                    break
        return min(current, key=self.rank)

    def best(self, count: int | None = 1) -> list[Candidate]:
        """The best settings played so far, or all, the best first."""
        return sorted(self.known, key=self.rank)[:count]

    def rank(self, candidate: Candidate) -> tuple[float, float, float]:
        """As `rank` of what a setting reached."""
        return rank(self._ask, self.known[candidate])

    def front(self) -> list[Candidate]:
        """The settings that no other beats in both price and strain, the cheapest first."""
        found: list[Candidate] = []
        least = math.inf
        for candidate in sorted(self.known, key=lambda each: self.known[each].usd_per_1k):
            used = strain(self._ask, self.known[candidate])
            if used < least:
                found.append(candidate)
                least = used
        return found

    def _step(self, current: Sequence[Candidate], knob: str, *, fine: bool) -> list[Candidate]:
        near = [list(self._near(candidate, knob, fine=fine)) for candidate in current]
        self._learn([each for group in near for each in group])
        return [
            min([candidate, *group], key=self.rank)
            for candidate, group in zip(current, near, strict=True)
        ]

    def _near(self, candidate: Candidate, knob: str, *, fine: bool) -> Iterator[Candidate]:
        if knob == TOKEN_BUDGET:
            place = TOKEN_BUDGETS.index(candidate.token_budget)
            for budget in TOKEN_BUDGETS[max(place - 1, 0) : place + 2]:
                if budget != candidate.token_budget:
                    yield candidate._replace(token_budget=budget)
            return
        for action in neighbours(self._menu, candidate.action, knob, fine=fine):
            if action.quantization_tier in self._tiers:
                yield candidate._replace(action=action)

    def _learn(self, candidates: Iterable[Candidate]) -> None:
        new = [each for each in dict.fromkeys(candidates) if each not in self.known]
        if new:
            self.known.update(zip(new, self._play(new), strict=True))


def with_knob(candidate: Candidate, knob: str, value: object) -> Candidate:
    """The setting with one knob at another value."""
    return candidate._replace(action=candidate.action.model_copy(update={knob: value}))
