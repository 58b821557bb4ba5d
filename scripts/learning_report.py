"""The page docs/learning.md: what the trainings of every policy reached, and the commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from agents.ppo.card import Card
from scripts.policy_levels import Behaviour

COMMAND: Final = "uv run python -m scripts.ship_weights"
FEWEST_SEEDS: Final = 5
NEARLY_ALL: Final = 0.99


@dataclass(frozen=True, slots=True)
class Trained:
    """The trainings of one policy.

    Attributes:
        name: Of the policy.
        cards: One per seed.
        merits: Mean difference to the best constants on validation seeds, per card.
        chosen: Index of the one that is shipped.
        behaviours: Of it, by task.
    """

    name: str
    cards: tuple[Card, ...]
    merits: tuple[float, ...]
    chosen: int
    behaviours: dict[str, Behaviour]

    @property
    def shipped(self) -> Card:
        """The card of the one that is shipped."""
        return self.cards[self.chosen]


def page(trained: Sequence[Trained]) -> str:
    """The page as Markdown."""
    return "\n".join(
        [
            "# Learning",
            "",
            f"Written by `{COMMAND}`; version {trained[0].shipped.environment_version} of the "
            f"environment. Every policy is trained by PPO from several seeds, and the one in the "
            f"middle is shipped in `weights/`, so that what is shipped is what a training gives, "
            f"not what luck gave once.",
            "",
            *_trainings(trained),
            "",
            "Seeds are of trainings, listed from 0 on; what counts is the raw score less that of "
            "the best constant action on the same validation seeds, averaged over a policy's "
            "tasks. A training keeps the policy that was best on these seeds, so the figures lean "
            "upwards; test seeds are not touched here, `evaluate.py` plays them. Wall times "
            "include validation, and whatever else the machine was doing.",
            *_caveat(trained),
            "",
            *_shipped(trained),
            "",
            *_state_dependence(trained),
            "",
            "## Curves",
            "",
            "Best constant (0), tuned reactive controller and clairvoyant planner are those of "
            "[headroom.md](headroom.md), measured on test seeds; the curves are of validation "
            "seeds. The numbers lie in `learning/*.csv`.",
            *_pictures(trained),
            "",
            "## Commands",
            "",
            *_commands(trained),
            "",
        ]
    )


def _trainings(trained: Sequence[Trained]) -> Iterator[str]:
    yield (
        "| Policy | Seeds | Differences, seed by seed | Spread (sd) | Shipped | Steps | "
        "Wall time, s | Steps/s |"
    )
    yield "|---|---:|---|---:|---:|---:|---:|---:|"
    for entry in trained:
        cards, merits = entry.cards, entry.merits
        yield (
            f"| {entry.name} | {len(cards)} | {' '.join(f'{merit:+.4f}' for merit in merits)} | "
            f"{_spread(merits)} | seed {entry.shipped.seed} | {entry.shipped.steps:,} | "
            f"{fmean(card.wall_s for card in cards):.0f} | "
            f"{fmean(card.steps_per_s for card in cards):,.0f} |"
        )


def _spread(merits: Sequence[float]) -> str:
    return f"{stdev(merits):.4f}" if len(merits) > 1 else "-"


def _caveat(trained: Sequence[Trained]) -> Iterator[str]:
    few = [entry for entry in trained if len(entry.cards) < FEWEST_SEEDS]
    if few:
        names = ", ".join(f"{entry.name} ({len(entry.cards)})" for entry in few)
        yield ""
        yield f"Fewer seeds than the {FEWEST_SEEDS} that are planned: {names}."


def _shipped(trained: Sequence[Trained]) -> Iterator[str]:
    yield "| Shipped policy | Task | Raw score | Best constant | Difference | 95 % | Seeds |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for entry in trained:
        for task_id, found in entry.shipped.validation.items():
            yield (
                f"| {entry.name} | {task_id} | {found.mean:.4f} | {found.constant:.4f} | "
                f"{found.difference:+.4f} | {found.low:+.4f} to {found.high:+.4f} | {found.seeds} |"
            )


def _state_dependence(trained: Sequence[Trained]) -> Iterator[str]:
    yield "## Do the policies follow what they see?"
    yield ""
    yield (
        "Share of windows in which the shipped policy chooses its commonest level, knob by knob, "
        "and what it gains over itself frozen at these levels, on validation seeds. The KV head's "
        "level is an entry of a menu, budget = multiplier x need + offset: the budget follows the "
        "load by this formula, which was written by hand, even where the level never moves. "
        "`By reacting` is what the network adds by moving levels, at most: another fixed setting "
        "may be better than the commonest. The rest of the difference to the best constant action "
        "is the setting that the training found, with that formula."
    )
    yield ""
    yield (
        "| Policy | Task | Windows at the commonest level | To best constant | "
        "Of it by reacting | 95 % |"
    )
    yield "|---|---|---|---:|---:|---:|"
    for entry in trained:
        for task_id, found in entry.behaviours.items():
            listed = ", ".join(f"{knob} {share:.1%}" for knob, share in found.shares.items())
            yield (
                f"| {entry.name} | {task_id} | {listed} | "
                f"{entry.shipped.validation[task_id].difference:+.4f} | {found.gain.value:+.4f} | "
                f"{found.gain.low:+.4f} to {found.gain.high:+.4f} |"
            )
    yield from _still(trained)


def _still(trained: Sequence[Trained]) -> Iterator[str]:
    still = [
        f"{entry.name} on {task_id}"
        for entry in trained
        for task_id, found in entry.behaviours.items()
        if min(found.shares.values()) >= NEARLY_ALL
    ]
    if still:
        yield ""
        yield (
            f"**No adaptation learnt: {', '.join(still)}.** There the policy is one setting of all "
            f"heads in at least {NEARLY_ALL:.0%} of the windows. Seeds that settle on the same "
            f"setting score alike to the last digit: a spread near 0 then does not say that "
            f"learning is stable, and which of them is the median is chance."
        )


def _pictures(trained: Sequence[Trained]) -> Iterator[str]:
    for entry in trained:
        yield ""
        yield f"![{entry.name}](learning/{entry.name}.svg)"


def _commands(trained: Sequence[Trained]) -> Iterator[str]:
    yield "```"
    yield COMMAND
    for entry in trained:
        yield entry.shipped.command
    yield "```"
