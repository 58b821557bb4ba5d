"""The reactive controller, tuned per task: thresholds on a smoothed load, a line for the KV."""

from __future__ import annotations

from typing import Final

from agents.knobs import KnobMenu, Setting, clip_cap, clip_kv, kv_in_use
from agents.load_estimate import LoadEstimate
from agents.reactive_parameters import ReactiveParameters
from agents.tuned_files import TunedReactive, choices_for
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import build_deployment

LONG_AGO: Final = 10_000  # windows; no task is longer


class ReactiveAgent:
    """A controller without a model of the future; what each parameter does is told there.

    Parameters that were not given are those that scripts/tune_reactive.py found for the task.
    """

    def __init__(self, parameters: ReactiveParameters | None = None) -> None:
        """Take the parameters, or leave them to the task."""
        self._given = parameters

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Start from the task's default setting and no load.

        Raises:
            InvalidInputError: If no parameters were given and none were tuned for the task under
                this environment version.
        """
        self._parameters = _tuned(task) if self._given is None else self._given
        self._menu, self._estimate = KnobMenu(task), LoadEstimate(task)
        deployment, tiers = build_deployment(task), self._menu.tiers
        first = deployment.pool_blocks(tiers[0])
        # Budgets are reckoned in the first tier's pool: a larger pool is no reason to reserve more.
        self._pools = {tier: deployment.pool_blocks(tier) / first for tier in tiers}
        self._thresholds = (
            self._parameters.second_tier_load,
            self._parameters.second_tier_load + self._parameters.third_tier_load,
        )[: len(tiers) - 1]
        self._gpus = task.deployment.gpus
        self._can_split = self._menu.moves("prefill_decode_split")
        self._cap = clip_cap(self._parameters.batch_cap)
        self._tier, self._split = tiers.index(self._menu.default.quantization_tier), False
        self._priority, self._kv = False, 0.0
        self._load, self._since_switch = 0.0, LONG_AGO

    def act(self, observation: ServeObservation) -> ServeAction:
        """The action for the smoothed load, the running batch and the KV in use."""
        self._follow_load(observation)
        parameters, load, tiers = self._parameters, self._load, self._menu.tiers
        used = kv_in_use(observation) * self._pools[tiers[self._tier]]
        self._switch()
        tier = tiers[self._tier]
        wanted = parameters.kv_per_used * used + parameters.kv_per_load * load + parameters.kv_base
        if not wanted <= self._kv <= wanted + parameters.kv_slack:
            self._kv = wanted
        self._priority = self._is_above(parameters.priority_load, self._priority)
        return self._menu.action(
            Setting(
                self._cap,
                clip_kv(self._kv / self._pools[tier]),
                self._depth(observation.active_requests / self._gpus),
                tier,
                self._split,
                self._priority,
            )
        )

    def _follow_load(self, observation: ServeObservation) -> None:
        first, estimate, parameters = self._menu.tiers[0], self._estimate, self._parameters
        estimate.update(observation)
        now = estimate.arriving(first) + parameters.queue_weight * estimate.queued_s(first)
        share = parameters.rise if now > self._load else parameters.fall
        self._load += share * (now - self._load)
        self._since_switch += 1

    def _switch(self) -> None:
        """Move tier and split, which stop the engine, unless they moved a short while ago."""
        if self._since_switch < self._parameters.dwell_windows:
            return
        tier = sum(
            self._is_above(threshold, self._tier > index)
            for index, threshold in enumerate(self._thresholds)
        )
        split = self._can_split and self._is_above(self._parameters.split_load, self._split)
        if (tier, split) != (self._tier, self._split):
            self._tier, self._split, self._since_switch = tier, split, 0

    def _depth(self, batch: float) -> int:
        """Draft tokens for so many running sequences on a GPU."""
        parameters = self._parameters
        if batch <= parameters.deep_batch:
            return round(parameters.deep_depth)
        return int(batch <= parameters.deep_batch + parameters.shallow_batch)

    def _is_above(self, threshold: float, was_above: bool) -> bool:
        """Whether the load is past a threshold, which is lower for what is past it already."""
        if was_above:
            threshold *= 1.0 - self._parameters.load_margin
        return self._load > threshold


def _tuned(task: TaskSpec) -> ReactiveParameters:
    made_by = f"python -m scripts.tune_reactive --task {task.family}"
    version = shipped_catalogue().environment_version
    return choices_for(TunedReactive, version, made_by=made_by).get(task.family, made_by=made_by)
