"""Where searches over constant actions look: points spread over the knobs, and steps from one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from agents.knobs import (
    KV_STEPS_PER_ONE,
    LARGEST_CAP,
    LARGEST_KV,
    SMALLEST_KV,
    KnobMenu,
    Setting,
    clip_cap,
    clip_kv,
)
from llmserve_env.models import KNOBS, ServeAction
from simulator.rng import stream

FloatArray = npt.NDArray[np.float64]

DRAWN_KV_STEPS_PER_ONE: Final = 20
# Coordinate steps, coarse and then fine: factors on the cap, hundredths of the KV budget.
CAP_FACTORS: Final = ((0.5, 0.7, 1.4, 2.0), (0.84, 1.19))
KV_STEPS: Final = ((-15, -5, 5, 15), (-2, 2))
DEPTH_STEPS: Final = ((-2, -1, 1, 2), (-1, 1))


def drawn_actions(menu: KnobMenu, count: int) -> list[ServeAction]:
    """Distinct actions spread over the knobs that move; fewer only if the menu has no more."""
    doublings = math.ceil(math.log2(4 * count))
    points = qmc.Sobol(len(KNOBS), rng=stream(0, "search_constants")).random_base2(doublings)
    actions = {_setting_at(menu, point): None for point in points}
    return list(dict.fromkeys(map(menu.action, actions)))[:count]


def _setting_at(menu: KnobMenu, point: FloatArray) -> Setting:
    kv = SMALLEST_KV + point[1] * (LARGEST_KV - SMALLEST_KV)
    depth, tier, split, priority = (
        menu.levels(knob)[int(share * len(menu.levels(knob)))]
        for knob, share in zip(KNOBS[2:], point[2:], strict=True)
    )
    return Setting(
        clip_cap(LARGEST_CAP ** float(point[0])),
        clip_kv(round(kv * DRAWN_KV_STEPS_PER_ONE) / DRAWN_KV_STEPS_PER_ONE),
        depth,
        tier,
        split,
        priority,
    )


def neighbours(menu: KnobMenu, action: ServeAction, knob: str, *, fine: bool) -> list[ServeAction]:
    """The other actions one step away along a knob."""
    now = Setting(*(getattr(action, each) for each in KNOBS))
    steps = _steps(menu, knob, now, fine=fine)
    near = dict.fromkeys(menu.action(now._replace(**{knob: value})) for value in steps)
    return [other for other in near if other != action]


def _steps(menu: KnobMenu, knob: str, now: Setting, *, fine: bool) -> Iterator[Any]:
    if knob == "batch_cap":
        yield from (clip_cap(now.batch_cap * factor) for factor in CAP_FACTORS[fine])
    elif knob == "kv_budget_fraction":
        kv = now.kv_budget_fraction
        yield from (clip_kv(kv + step / KV_STEPS_PER_ONE) for step in KV_STEPS[fine])
    elif knob == "speculation_depth":
        depths = menu.levels(knob)
        wanted = (now.speculation_depth + step for step in DEPTH_STEPS[fine])
        yield from (depth for depth in wanted if depth in depths)
    else:
        yield from menu.levels(knob)


def descend(
    menu: KnobMenu,
    starts: Sequence[ServeAction],
    play: Callable[[Sequence[ServeAction], str], Sequence[float]],
    *,
    max_passes: int,
) -> tuple[dict[ServeAction, float], int]:
    """The actions that no step along one knob improves, and how many were tried.

    All starts go together, a knob's steps of all of them in one round, so that whoever plays them
    can share the rounds evenly.

    Args:
        menu: Which knobs move, and how far.
        starts: Where to begin.
        play: Scores of actions, the more the better; the text says what they are tried for.
        max_passes: Over all knobs, for coarse steps and for fine ones.
    """
    known: dict[ServeAction, float] = {}

    def learn(actions: Sequence[ServeAction], label: str) -> None:
        new = [action for action in dict.fromkeys(actions) if action not in known]
        if new:
            known.update(zip(new, play(new, label), strict=True))

    learn(starts, "starts")
    current = list(starts)
    for fine in (False, True):
        for turn in range(max_passes):
            before = list(current)
            for knob in filter(menu.moves, KNOBS):
                steps = [neighbours(menu, action, knob, fine=fine) for action in current]
                learn([other for group in steps for other in group], f"pass {turn + 1}, {knob}")
                current = [
                    max([action, *group], key=known.__getitem__)
                    for action, group in zip(current, steps, strict=True)
                ]
            if current == before:
                break
    return {action: known[action] for action in current}, len(known)
