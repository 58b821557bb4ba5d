"""What a policy's heads stand for: levels of the knobs, the KV budget as room above the need.

There is a head per knob, in the order of KNOBS, each padded to one width; a mask tells which levels
exist. Five heads choose among action_encoding.LEVELS. A level of the KV head stands for an entry
of the recipe's menu:

    budget = multiplier x need + offset,
    need   = KV in use + (requests waiting + requests arriving in a window) x prompt / pool,

with the slowly averaged prompt length, all in shares of the pool; a budget in force that is larger
by no more than the entry's slack is kept. What is to be reserved follows the requests at hand, so
that one level is right at many loads. Everything is read off the features that a policy sees
anyway: the trainer's rows and the agent's single one are computed by the same lines.

Slack is part of a level because a policy that acts has no dice: one that learnt to hold its budget
in seven windows of ten would, always doing what is likeliest, hold it for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.knobs import KV_STEPS_PER_ONE, LARGEST_KV, SMALLEST_KV
from agents.ppo.recipe import KvMenu
from llmserve_env.action_encoding import LEVELS, nearest_level
from llmserve_env.encoding import FEATURE_NAMES, FEATURES, Feature
from llmserve_env.models import KNOBS, TIERS, ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment
from simulator.engine import action_row

FloatArray = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Levels = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

HEADS: Final = len(KNOBS)
NONE: Final = -1  # no level
CAP, KV, DEPTH, TIER, SPLIT, PRIORITY = range(HEADS)
_CAPS: Final = np.array(LEVELS["batch_cap"], np.float64)
# By batch cap: the level next to it.
_CAP_LEVELS: Final = np.array(
    [nearest_level("batch_cap", max(cap, 1)) for cap in range(int(_CAPS[-1]) + 1)]
)
_TIER_COLUMNS: Final = [FEATURE_NAMES.index(f"config.quantization_tier.{tier}") for tier in TIERS]


def width_of(menu: KvMenu) -> int:
    """How many levels the widest head has; all are padded to it."""
    return max(len(menu.entries), *(len(LEVELS[knob]) for knob in KNOBS if knob != KNOBS[KV]))


class ActionReader:
    """Reads the levels that a policy chose, for rows of episodes of given tasks."""

    def __init__(self, tasks: Sequence[TaskSpec], menu: KvMenu) -> None:
        """Look up what every row's task and deployment allow.

        Args:
            tasks: One per row.
            menu: What the KV head chooses between.

        Raises:
            InvalidInputError: If a deployment cannot be built.
        """
        self._menu = menu
        self._factors, self._offsets, self._slacks = np.array(menu.entries).T
        known = {task.task_id: _TaskFacts(task, menu) for task in tasks}
        facts = [known[task.task_id] for task in tasks]
        self._rows = np.arange(len(tasks))
        self._fixed = np.array([fact.fixed for fact in facts])
        self._pools = np.array([fact.pool_tokens for fact in facts])
        self._window_s = np.array([task.window_s for task in tasks])
        # (rows, HEADS, WIDTH) bool, the levels that exist and may be chosen.
        self.masks: Masks = np.array([fact.masks for fact in facts])
        # (rows, HEADS) float32, 1 for the knobs that move: which task is played, as far as a
        # policy is told.
        self.active: Features = np.isnan(self._fixed).astype(np.float32)

    def in_force(self, features: Features) -> Levels:
        """(rows, HEADS) int64, the level of every knob next to its value in force; -1 for KV."""
        levels = np.full((len(features), HEADS), NONE, np.int64)
        caps = np.rint(_decoded(features, "config.batch_cap"))
        levels[:, CAP] = _CAP_LEVELS[caps.astype(np.int64)]
        levels[:, DEPTH] = np.rint(_decoded(features, "config.speculation_depth"))
        levels[:, TIER] = features[:, _TIER_COLUMNS].argmax(axis=1)
        levels[:, SPLIT] = _decoded(features, "config.prefill_decode_split") > 0.5
        levels[:, PRIORITY] = _decoded(features, "config.priority_routing") > 0.5
        return levels

    def rows(self, levels: Levels, features: Features) -> FloatArray:
        """(rows, HEADS) float64, the actions as engine.action_row writes them.

        Args:
            levels: (rows, HEADS), each one that its mask allows.
            features: (rows, FEATURES), what the policy saw when it chose.
        """
        rows = levels.astype(np.float64)
        rows[:, CAP] = _CAPS[levels[:, CAP]]
        rows[:, KV] = self._budgets(levels, features)
        return np.where(np.isnan(self._fixed), rows, self._fixed)

    def _budgets(self, levels: Levels, features: Features) -> FloatArray:
        """(rows,) KV budgets in hundredths, as clip_kv makes them."""
        in_force = _decoded(features, "config.kv_budget_fraction")
        tier = features[:, _TIER_COLUMNS].argmax(axis=1)
        pool = self._pools[self._rows, tier]
        rate_rps = _decoded(features, "request_arrival_rate")
        coming = _decoded(features, "queue_depth") + rate_rps * self._window_s
        prompt = _decoded(features, "mean_prompt_length.slow")
        need = _decoded(features, "kv_cache_occupancy") + coming * prompt / pool
        level = levels[:, KV]
        wanted = self._factors[level] * need + self._offsets[level]
        wanted *= pool / self._pools[self._rows, levels[:, TIER]]
        hundredths = np.rint(np.clip(wanted, SMALLEST_KV, LARGEST_KV) * KV_STEPS_PER_ONE)
        held = np.rint(in_force * KV_STEPS_PER_ONE)
        spare = held - hundredths
        keeps = (spare >= 0.0) & (spare <= self._slacks[level] * KV_STEPS_PER_ONE)
        budgets: FloatArray = np.where(keeps, held, hundredths)
        return budgets / KV_STEPS_PER_ONE

    def start_shares(self, constants: Sequence[ServeAction]) -> Features:
        """(HEADS, width) float32, how many of the rows start at a level, of those it moves in.

        Args:
            constants: An action per row; a knob starts at the level next to its value, the KV
                budget at the menu's start.
        """
        shares: Features = np.zeros(self.masks.shape[1:], np.float32)
        for active, action in zip(self.active, constants, strict=True):
            for head, knob in enumerate(KNOBS):
                shares[head, _start_level(knob, action, self._menu)] += active[head]
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
        return shares


def action_of(row: FloatArray) -> ServeAction:
    """The action that a row of ActionReader.rows describes."""
    return ServeAction(
        batch_cap=int(row[CAP]),
        kv_budget_fraction=float(row[KV]),
        speculation_depth=int(row[DEPTH]),
        quantization_tier=TIERS[int(row[TIER])],
        prefill_decode_split=bool(row[SPLIT]),
        priority_routing=bool(row[PRIORITY]),
    )


class _TaskFacts:
    """What one task lets a policy do.

    Attributes:
        fixed: (HEADS,) float64, the values of the knobs that do not move; NaN for those that do.
        pool_tokens: (tiers,) float64, KV tokens per GPU; 1 where the tier is not offered.
        masks: (HEADS, WIDTH) bool.
    """

    def __init__(self, task: TaskSpec, menu: KvMenu) -> None:
        deployment = build_deployment(task)
        default = action_row(task.default_action)
        moves = [knob in task.active_actions for knob in KNOBS]
        self.fixed = np.where(moves, np.nan, default)
        block_tokens = float(deployment.fleet[0]["block_tokens"])
        offered = [tier in deployment.tiers for tier in TIERS]
        self.pool_tokens = [
            block_tokens * deployment.pool_blocks(tier) if there else 1.0
            for tier, there in zip(TIERS, offered, strict=True)
        ]
        self.masks = np.zeros((HEADS, width_of(menu)), np.bool_)
        for head, knob in enumerate(KNOBS):
            if not moves[head]:
                self.masks[head, _fixed_level(knob, task.default_action)] = True
            elif head == KV:
                self.masks[head, : len(menu.entries)] = True
            else:
                self.masks[head, : len(LEVELS[knob])] = offered if head == TIER else True


def _fixed_level(knob: str, action: ServeAction) -> int:
    return 0 if knob == KNOBS[KV] else nearest_level(knob, getattr(action, knob))


def _start_level(knob: str, action: ServeAction, menu: KvMenu) -> int:
    if knob == KNOBS[KV]:
        return menu.entries.index(menu.start)
    return nearest_level(knob, getattr(action, knob))


def _decoded(features: Features, name: str) -> FloatArray:
    """(rows,) float64, a feature in its own unit again."""
    column, feature = _LOOKED_UP[name]
    values: FloatArray = features[:, column].astype(np.float64)
    if feature.transform == "log":
        values = np.expm1(values * math.log1p(feature.full / feature.unit)) * feature.unit
    else:
        values = values * feature.full
    return values


def _look_up(names: Sequence[str]) -> dict[str, tuple[int, Feature]]:
    return {
        name: (FEATURE_NAMES.index(name), FEATURES[FEATURE_NAMES.index(name)]) for name in names
    }


_LOOKED_UP: Final = _look_up(
    (
        "config.batch_cap",
        "config.kv_budget_fraction",
        "config.speculation_depth",
        "config.prefill_decode_split",
        "config.priority_routing",
        "request_arrival_rate",
        "queue_depth",
        "kv_cache_occupancy",
        "mean_prompt_length.slow",
    )
)
