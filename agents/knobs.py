"""What an agent may set the six knobs to on one task, and the actions made of that."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from llmserve_env.action_encoding import LEVELS
from llmserve_env.models import KNOBS, QuantizationTier, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment

SMALLEST_CAP: Final[int] = LEVELS["batch_cap"][0]
LARGEST_CAP: Final[int] = LEVELS["batch_cap"][-1]
SMALLEST_KV: Final[float] = LEVELS["kv_budget_fraction"][0]
LARGEST_KV: Final[float] = LEVELS["kv_budget_fraction"][-1]
SMALLEST_DEPTH: Final[int] = LEVELS["speculation_depth"][0]
LARGEST_DEPTH: Final[int] = LEVELS["speculation_depth"][-1]
# Budgets of rules are multiples of 1 / this: finer steps gain little and count as a moved knob.
KV_STEPS_PER_ONE: Final = 100


class Setting(NamedTuple):
    """A value for every knob, as an agent would like to have it; fields as in ServeAction."""

    batch_cap: int
    kv_budget_fraction: float
    speculation_depth: int
    quantization_tier: QuantizationTier
    prefill_decode_split: bool
    priority_routing: bool


class KnobMenu:
    """The knobs of one task: which move, between which values, and ready-made actions.

    Attributes:
        task: The task.
        default: The task's default action, where knobs that do not move stay.
        tiers: The tiers that the task may use, least quantised first; the default tier alone
            where the tier is fixed.
    """

    def __init__(self, task: TaskSpec) -> None:
        """Look up what the task and its deployment allow."""
        self.task = task
        self.default = Setting(*(getattr(task.default_action, knob) for knob in KNOBS))
        self._fixed = {
            knob: getattr(self.default, knob) for knob in KNOBS if knob not in task.active_actions
        }
        self.tiers: tuple[QuantizationTier, ...] = (
            build_deployment(task).tiers
            if self.moves("quantization_tier")
            else (self.default.quantization_tier,)
        )
        self._seen: dict[Setting, ServeAction] = {}

    def moves(self, knob: str) -> bool:
        """Whether the task lets this knob move."""
        return knob not in self._fixed

    def levels(self, knob: str) -> tuple[Any, ...]:
        """The levels of action_encoding.LEVELS that the knob may take, or its fixed value alone."""
        if not self.moves(knob):
            return (self._fixed[knob],)
        return self.tiers if knob == "quantization_tier" else LEVELS[knob]

    def action(self, setting: Setting) -> ServeAction:
        """The action next to a setting: a fixed knob keeps its value; one object per setting."""
        action = self._seen.get(setting)
        if action is None:
            action = self._seen[setting] = ServeAction(**setting._asdict() | self._fixed)
        return action


def clip_cap(cap: float) -> int:
    """The whole batch cap within the contract's range that lies next to a number."""
    return min(max(round(cap), SMALLEST_CAP), LARGEST_CAP)


def clip_kv(fraction: float) -> float:
    """The KV budget within the contract's range next to a number, in hundredths."""
    return round(min(max(fraction, SMALLEST_KV), LARGEST_KV) * KV_STEPS_PER_ONE) / KV_STEPS_PER_ONE


def kv_in_use(observation: ServeObservation) -> float:
    """Share of the KV pool in use; 0 where a real server does not tell.

    Such a server's KV budget does not act either, so whatever is made of it does no harm.
    """
    told: float | None = observation.kv_cache_occupancy
    return told or 0.0
