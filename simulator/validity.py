"""Where an episode left what its profile was held against, from what was observed; in one place.

Every line of fidelity and every warning comes from here: those beside scores on the command line,
in grades, in results and on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmserve_env.models import Fidelity, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import Deployment, build_deployment
from simulator.fidelity_card import Span, ValidatedRange
from simulator.hardware import card_of

NO_CARD: Final = "nothing was compared with it"
# An episode's mean of a window is compared with the range of single requests only beyond this.
TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Excursion:
    """A quantity that left the range, over the windows of one or more episodes.

    Attributes:
        quantity: What it is, its unit included.
        low: The least value seen outside of the range; None of what has no number.
        high: The greatest one.
        compared: What was compared, in words.
        windows: How many windows were outside.
        played: How many windows there were.
    """

    quantity: str
    low: float | None
    high: float | None
    compared: str
    windows: int
    played: int

    @property
    def line(self) -> str:
        """The warning."""
        seen = ""
        if self.low is not None and self.high is not None:
            low, high = f"{self.low:,.0f}", f"{self.high:,.0f}"
            seen = f" {low}" if low == high else f" {low} to {high}"
        return (
            f"outside the validated range: {self.quantity}{seen} in {self.windows:,} of "
            f"{self.played:,} windows; compared: {self.compared}"
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What one window shows of the quantities that have a range; None where it shows nothing."""

    action: ServeAction
    sequences: float | None
    prompt_tokens: float | None
    context_tokens: float | None


def fidelity_line(profile: str) -> str:
    """How far the profile may be trusted, in a line.

    Raises:
        InvalidInputError: If there is no such profile.
    """
    card = card_of(profile)
    return f"{profile}: {NO_CARD if card is None else card.line}"


def observed_excursions(
    task: TaskSpec, windows: Iterable[ServeObservation]
) -> tuple[Excursion, ...]:
    """Where the windows of an episode left the validated range of the task's profile."""
    return excursions(task, [(each.config, vars(each)) for each in windows])


def excursions(
    task: TaskSpec, windows: Sequence[tuple[ServeAction, Mapping[str, Any]]]
) -> tuple[Excursion, ...]:
    """The same of actions and fields of MetricsSnapshot; none where no run was ever compared.

    A profile without end-to-end runs says so in its line; what then is known to be uncertain in it,
    speculation and the split, is named here.
    """
    card = card_of(task.deployment.profile)
    deployment = build_deployment(task)
    seen = [_seen(deployment, task, action, fields) for action, fields in windows]
    validated = None if card is None else card.validated
    found = _of_knobs(validated, seen)
    if validated is not None:
        found += _of_ranges(validated, seen)
    return tuple(found)


def fidelity_of(profile: str, found: Sequence[Excursion]) -> Fidelity:
    """The record of a profile's line and of these warnings."""
    warnings = tuple(each.line for each in found)
    return Fidelity(profile=profile, line=fidelity_line(profile), warnings=warnings)


def merged(found: Iterable[Sequence[Excursion]]) -> tuple[Excursion, ...]:
    """The excursions of several episodes, one a quantity; `played` counts all their windows."""
    by_quantity: dict[tuple[str, str], list[Excursion]] = {}
    for episode in found:
        for each in episode:
            by_quantity.setdefault((each.quantity, each.compared), []).append(each)
    return tuple(
        Excursion(
            quantity=quantity,
            low=min((each.low for each in parts if each.low is not None), default=None),
            high=max((each.high for each in parts if each.high is not None), default=None),
            compared=compared,
            windows=sum(each.windows for each in parts),
            played=sum(each.played for each in parts),
        )
        for (quantity, compared), parts in by_quantity.items()
    )


def warning_lines(episodes: Iterable[tuple[str, Sequence[Excursion]]]) -> list[str]:
    """A line a quantity of (agent, its excursions): who left what was compared, and how far."""
    by_quantity: dict[tuple[str, str], list[tuple[str, Excursion]]] = {}
    for agent, found in episodes:
        for each in found:
            by_quantity.setdefault((each.quantity, each.compared), []).append((agent, each))
    lines = []
    for parts in by_quantity.values():
        (whole,) = merged([[each] for _, each in parts])
        lines.append(f"! {', '.join(agent for agent, _ in parts)}: {whole.line}")
    return lines


def _seen(
    deployment: Deployment, task: TaskSpec, action: ServeAction, fields: Mapping[str, Any]
) -> Seen:
    active, occupancy = fields["active_requests"], fields["kv_cache_occupancy"]
    gpus = task.deployment.gpus
    context = None
    if active and occupancy:
        blocks = deployment.pool_blocks(action.quantization_tier) * gpus
        context = occupancy * blocks * deployment.profile.serving.kv_block_tokens / active
    return Seen(
        action=action,
        sequences=active / gpus if active else None,
        prompt_tokens=fields["mean_prompt_length"],
        context_tokens=context,
    )


def _of_ranges(validated: ValidatedRange, seen: Sequence[Seen]) -> list[Excursion]:
    compared = (
        ("requests in hand on a GPU", "sequences", validated.sequences),
        ("mean prompt, tokens,", "prompt_tokens", validated.prompt_tokens),
        ("mean context in the KV cache, tokens,", "context_tokens", validated.context_tokens),
    )
    found = []
    for quantity, name, span in compared:
        values = [getattr(each, name) for each in seen]
        outside = [v for v in values if v is not None and not _within(v, span)]
        words = f"{span.low:,.0f} to {span.high:,.0f}"
        found += _excursion(quantity, outside, words, len(seen))
    return found


def _of_knobs(validated: ValidatedRange | None, seen: Sequence[Seen]) -> list[Excursion]:
    """Knobs that no compared run had moved there; tiers only where some were compared."""
    depth = 0 if validated is None else validated.speculation_depth
    deep = [float(each.action.speculation_depth) for each in seen]
    words = f"up to {depth}" if depth else "no run with speculation"
    found = _excursion("speculation_depth", [d for d in deep if d > depth], words, len(seen))
    is_split = [each.action.prefill_decode_split for each in seen]
    if validated is None or not validated.prefill_decode_split:
        found += _stretch("prefill_decode_split", sum(is_split), "no split run", len(seen))
    tiers = () if validated is None else validated.tiers
    for tier in dict.fromkeys(each.action.quantization_tier for each in seen):
        if tiers and tier not in tiers:
            count = sum(each.action.quantization_tier == tier for each in seen)
            found += _stretch(f"quantization_tier {tier}", count, ", ".join(tiers), len(seen))
    return found


def _stretch(quantity: str, windows: int, compared: str, played: int) -> list[Excursion]:
    return [Excursion(quantity, None, None, compared, windows, played)] if windows else []


def _excursion(
    quantity: str, outside: Sequence[float], compared: str, played: int
) -> list[Excursion]:
    if not outside:
        return []
    return [Excursion(quantity, min(outside), max(outside), compared, len(outside), played)]


def _within(value: float, span: Span) -> bool:
    return span.low - TOLERANCE <= value <= span.high + TOLERANCE
