"""The parameters of the reactive controller, and the box that they are tuned in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from llmserve_env.tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class ReactiveParameters:
    """One setting of reactive.py. Loads are GPU seconds of work per second in the first tier.

    Attributes:
        rise: Share of the gap that the smoothed load closes per window when load rises.
        fall: The same when it falls.
        queue_weight: What a second of waiting work adds to the load.
        second_tier_load: Smoothed load from which the second tier serves.
        third_tier_load: How much more load the third tier takes.
        load_margin: A switch is taken back this share of its threshold lower.
        dwell_windows: Windows between switches of tier or split at least.
        deep_batch: Running sequences per GPU up to which drafts are deep.
        deep_depth: Draft tokens then.
        shallow_batch: How many more sequences leave drafts one token deep; above there are none.
        kv_per_used: Budget per KV in use.
        kv_per_load: Budget per load.
        kv_base: Budget on top; like the other two a share of the first tier's KV pool.
        kv_slack: How far the budget may exceed what is wanted before it is lowered.
        batch_cap: Cap throughout.
        priority_load: Smoothed load from which the top class goes first.
        split_load: Smoothed load from which prefill and decode are split.
    """

    rise: float
    fall: float
    queue_weight: float
    second_tier_load: float
    third_tier_load: float
    load_margin: float
    dwell_windows: float
    deep_batch: float
    deep_depth: float
    shallow_batch: float
    kv_per_used: float
    kv_per_load: float
    kv_base: float
    kv_slack: float
    batch_cap: float
    priority_load: float
    split_load: float


class Bound(NamedTuple):
    """Where a parameter is looked for.

    Attributes:
        low: Least value.
        high: Greatest value.
        is_log: Whether the search takes equal ratios as equal steps.
        knob: The knob that it acts on alone; a task that holds the knob fixed does not tune it.
    """

    low: float
    high: float
    is_log: bool = False
    knob: str | None = None


_TIER: Final = "quantization_tier"
_DEPTH: Final = "speculation_depth"
_KV: Final = "kv_budget_fraction"
# Load thresholds reach beyond what any task offers for long: there a switch is never used.
BOUNDS: Final[dict[str, Bound]] = {
    "rise": Bound(0.03, 1.0, is_log=True),
    "fall": Bound(0.01, 1.0, is_log=True),
    "queue_weight": Bound(0.0, 2.0),
    "second_tier_load": Bound(0.0, 3.0, knob=_TIER),
    "third_tier_load": Bound(0.0, 3.0, knob=_TIER),
    "load_margin": Bound(0.0, 0.8),
    "dwell_windows": Bound(3.0, 60.0, is_log=True, knob=_TIER),
    "deep_batch": Bound(0.0, 160.0, knob=_DEPTH),
    "deep_depth": Bound(1.0, 8.0, knob=_DEPTH),
    "shallow_batch": Bound(0.0, 128.0, knob=_DEPTH),
    "kv_per_used": Bound(0.0, 2.5, knob=_KV),
    "kv_per_load": Bound(0.0, 1.0, knob=_KV),
    "kv_base": Bound(0.0, 2.0, knob=_KV),
    "kv_slack": Bound(0.0, 0.4, knob=_KV),
    "batch_cap": Bound(8.0, 512.0, is_log=True, knob="batch_cap"),
    "priority_load": Bound(0.0, 4.0, knob="priority_routing"),
    "split_load": Bound(0.0, 4.0, knob="prefill_decode_split"),
}
NAMES: Final = tuple(field.name for field in fields(ReactiveParameters))


def tuned_names(task: TaskSpec) -> tuple[str, ...]:
    """The parameters that act on a knob which the task lets move."""
    return tuple(name for name in NAMES if BOUNDS[name].knob in (None, *task.active_actions))


def from_unit(names: Sequence[str], point: Sequence[float]) -> ReactiveParameters:
    """The parameters at a point of the unit cube; those not named lie in the middle of theirs."""
    shares = dict(zip(names, point, strict=True))
    return ReactiveParameters(
        **{name: _within(BOUNDS[name], shares.get(name, 0.5)) for name in NAMES}
    )


def to_unit(names: Sequence[str], parameters: ReactiveParameters) -> list[float]:
    """The point of the unit cube that stands for parameters within their bounds."""
    return [_share(BOUNDS[name], getattr(parameters, name)) for name in names]


def _within(bound: Bound, share: float) -> float:
    share = min(max(float(share), 0.0), 1.0)
    if bound.is_log:
        return bound.low * math.exp(share * math.log(bound.high / bound.low))
    return bound.low + (bound.high - bound.low) * share


def _share(bound: Bound, value: float) -> float:
    if bound.is_log:
        return math.log(value / bound.low) / math.log(bound.high / bound.low)
    return (value - bound.low) / (bound.high - bound.low)
