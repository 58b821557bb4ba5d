"""Tunes two rules to earlier traffic: a KV budget that follows the need, a setting per load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final

import numpy as np

from agents.knob_steps import neighbours
from agents.knobs import KnobMenu
from agents.kv_rule_parameters import KvRuleParameters
from agents.recommend.drivers import RateSchedule, smoothed
from agents.recommend.traffic import Traffic
from llmserve_env.models import ServeAction

MULTIPLIERS: Final = (1.0, 1.1, 1.25, 1.5, 2.0)
OFFSETS: Final = (0.0, 0.03, 0.06, 0.1, 0.2)
SLACKS: Final = (0.02, 0.08)
RULE_STEPS: Final = {
    "multiplier": (-0.1, 0.1),
    "offset": (-0.02, 0.02),
    "slack": (-0.02, 0.02, 0.04),
}
LEVEL_SHARES: Final = (1 / 3, 2 / 3)
PASSES: Final = 2

Rank = tuple[float, float, float]
Rate = Callable[[Sequence[KvRuleParameters]], list[Rank]]
RateSchedules = Callable[[Sequence[RateSchedule]], list[Rank]]


def tuned_kv_rule(constant: ServeAction, rate: Rate) -> KvRuleParameters:
    """The best rule beside the constant's other knobs."""
    grid = [
        KvRuleParameters(others=constant, multiplier=multiplier, offset=offset, slack=slack)
        for multiplier, offset, slack in product(MULTIPLIERS, OFFSETS, SLACKS)
    ]
    ranks = rate(grid)
    best, index = min((rank, place) for place, rank in enumerate(ranks))
    current = grid[index]
    for _ in range(PASSES):
        near = list(_rule_steps(current))
        found, index = min((rank, place) for place, rank in enumerate(rate(near)))
        if found >= best:
            break
        best, current = found, near[index]
    return current


def _rule_steps(rule: KvRuleParameters) -> Iterator[KvRuleParameters]:
    for name, steps in RULE_STEPS.items():
        for step in steps:
            value = round(getattr(rule, name) + step, 3)
            if (
                (0.4 if name == "multiplier" else 0.0)
                <= value
                <= 1.0 + 3.0 * (name == "multiplier")
            ):
                yield rule.model_copy(update={name: value})


def rate_edges_rps(traffic: Traffic, replicas: int) -> tuple[float, ...]:
    """The smoothed rates that part earlier traffic into levels of equal time."""
    part = traffic.earlier
    inside = traffic.trace.arrival_s[traffic.trace.arrival_s < part.end_s] - part.start_s
    counts = np.bincount(inside.astype(np.int64)) / replicas
    rate, rates = counts[0], np.empty(len(counts))
    for second, count in enumerate(counts):
        rate = rates[second] = smoothed(rate, count)
    edges = np.quantile(rates, LEVEL_SHARES).round(3)
    return tuple(dict.fromkeys(edges.tolist()))


def tuned_schedule(
    menu: KnobMenu,
    constant: ServeAction,
    edges_rps: tuple[float, ...],
    knobs: Sequence[str],
    rate: RateSchedules,
) -> RateSchedule:
    """The best setting of the hot knobs per level, starting from the constant in all."""
    current = RateSchedule(edges_rps=edges_rps, settings=(constant,) * (len(edges_rps) + 1))
    (best,) = rate([current])
    for fine in (False, True):
        for level, knob in product(range(len(current.settings)), knobs):
            if not menu.moves(knob):
                continue
            near = [
                _with_setting(current, level, action)
                for action in neighbours(menu, current.settings[level], knob, fine=fine)
            ]
            if not near:
                continue
            found, index = min((rank, place) for place, rank in enumerate(rate(near)))
            if found < best:
                best, current = found, near[index]
    return current


def _with_setting(schedule: RateSchedule, level: int, action: ServeAction) -> RateSchedule:
    settings = list(schedule.settings)
    settings[level] = action
    return schedule.model_copy(update={"settings": tuple(settings)})
