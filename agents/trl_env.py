"""The environment as TRL's `environment_factory` wants it: a class whose methods are tools.

    GRPOTrainer(model=..., environment_factory=ServingTools, reward_funcs=episode_reward, ...)

Every public method is a tool; the trainer reads types and the sections `Args:` into its schema, so
that bounds stand in their words (a test holds them equal to those of ServeAction). This module
imports neither trl nor torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from agents.tool_play import ToolPlay
from llmserve_env.models import QuantizationTier
from llmserve_env.splits import split_range
from simulator.environment import ServingEnvironment

# Columns of the data set that say what to play; all others are somebody else's.
COLUMNS: Final = ("task_id", "seed", "trace_seed", "reward_weights")


class ServingTools:
    """One rollout's episode, played in this process."""

    def __init__(self) -> None:
        """Play nothing yet."""
        self._play = ToolPlay(ServingEnvironment(), start="reset")
        self._rewards: list[float] = []

    def reset(self, **columns: Any) -> str:
        """Start an episode; what the model is told about it, to stand behind its prompt.

        Args:
            **columns: A row of the data set. task_id, seed, trace_seed and reward_weights say what
                to play; the task is static_workload and the seed the first training seed if left
                out, so that all rollouts of a prompt face the same traffic.

        Raises:
            LLMServeError: If there is nothing of the kind to play.
        """
        wanted = {name: columns[name] for name in COLUMNS if columns.get(name) is not None}
        self._play.start(**{"seed": split_range("train")[0]} | wanted)
        self._rewards = []
        return f"{self._play.briefing.facts}\n{self._play.situation()}"

    def apply_config(
        self,
        batch_cap: int | None = None,
        kv_budget_fraction: float | None = None,
        speculation_depth: int | None = None,
        quantization_tier: QuantizationTier | None = None,
        prefill_decode_split: bool | None = None,
        priority_routing: bool | None = None,
        hold_windows: int = 10,
    ) -> str:
        """Set the knobs that are named, leave the others as they are, and serve with them.

        Args:
            batch_cap: Maximum running sequences per replica, 1 to 512.
            kv_budget_fraction: Share of the KV cache that may be used and is paid for, 0.1 to 1.0.
            speculation_depth: Draft tokens proposed per decode step, 0 to 8; 0 is off.
            quantization_tier: Weight precision; nothing is served while it switches.
            prefill_decode_split: Prefill and decode on GPUs of their own; switches like the tier.
            priority_routing: Serve by priority class instead of first come, first served.
            hold_windows: Windows of a second to serve with this, 1 to 50; fewer if objectives are
                missed that were met before.

        Returns:
            The last windows as a table, the rewards earned, and what is left.
        """
        named = {
            "batch_cap": batch_cap,
            "kv_budget_fraction": kv_budget_fraction,
            "speculation_depth": speculation_depth,
            "quantization_tier": quantization_tier,
            "prefill_decode_split": prefill_decode_split,
            "priority_routing": priority_routing,
        }
        change = {knob: value for knob, value in named.items() if value is not None}
        turn = self._play.apply(change, hold_windows)
        self._rewards += turn.rewards
        mean = math.fsum(turn.rewards) / len(turn.rewards)
        told = f"Served {len(turn.rewards)} windows, mean reward {mean:.3f}."
        if turn.stopped_early:
            told += " Stopped early: objectives are missed that were met."
        if turn.observation.done:
            told += " The episode is over."
        return f"{told}\n{self._play.situation()}"

    def forecast(self, horizon_windows: int = 10) -> str:
        """Tell the load to expect, judged by the windows seen so far.

        Args:
            horizon_windows: Windows to look ahead, 1 to 50.

        Returns:
            A forecast as JSON: requests per second, and the load they are for each tier.
        """
        return self._play.forecast(horizon_windows).model_dump_json(exclude={"basis"})

    @property
    def reward(self) -> float:
        """Mean reward of a window over the whole horizon, in [-1, 1].

        Windows that were not played gain nothing and miss all, as the grader counts them: to stop
        calling tools does not pay.

        Raises:
            EpisodeNotStartedError: Before the first reset.
        """
        left = self._play.windows_left
        weights = self._play.task.reward
        lowest = -(weights.violation + weights.preemption + weights.drop)
        return math.fsum([*self._rewards, lowest * left]) / self._play.task.windows


def episode_reward(environments: Sequence[ServingTools], **_: Any) -> list[float]:
    """The rewards of rollouts, as TRL's `reward_funcs` wants them."""
    return [environment.reward for environment in environments]
